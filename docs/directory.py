"""Makes the directory of plugins that `ablate plugins search` reads: ablate/reference/plugins.json.

    python docs/directory.py --folder plugins/ablate-example --folder plugins/ablate-example-kind
    python docs/directory.py --index https://pypi.org                  asks the package index

Names come from the index's classifier (XML-RPC `browse`), or are given (`--name`); what stands in the list of each is
its newest release (JSON interface). Its wheel is downloaded by pip and unpacked, not installed, and its components are
loaded and checked in a process of their own, with limits of time and memory. That runs strangers' code: do it where
nothing can be lost, such as a container. A plugin that cannot be loaded stands in the list, with the reason.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import datetime
import json
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
import xmlrpc.client
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import ablate
from ablate.discovery.catalog import catalog
from ablate.discovery.directory import SHIPPED, Directory, Listed
from ablate.discovery.hooks import GROUP
from ablate.discovery.plugin_origins import origin_of, package_files
from ablate.errors import InputError
from ablate.io.files import write_atomic
from ablate.testing.apart import Apart, examine_apart

CLASSIFIER = "Framework :: Ablate"
SECONDS, GIB = 180.0, 8.0  # of each check, and of the process in which they run
REASON = 200  # letters of a reason in the list


def of_index(index: str, classifier: str, names: Sequence[str]) -> Iterator[Listed]:
    """Yield the plugins of a package index: those with the classifier, and those that are named."""
    browse = xmlrpc.client.ServerProxy(f"{index}/pypi").browse([classifier])
    found = {str(name) for name, _ in browse} if isinstance(browse, list) else set()
    for name in sorted(found | set(names)):
        with urllib.request.urlopen(f"{index}/pypi/{name}/json", timeout=30) as answer:
            version = json.load(answer)["info"]["version"]
        with tempfile.TemporaryDirectory() as folder:
            words = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--index-url", f"{index}/simple"]
            pip = [sys.executable, "-m", "pip", *words, "--dest", folder, f"{name}=={version}"]
            done = subprocess.run(pip, capture_output=True, text=True, check=False)
            wheels = list(Path(folder).glob("*.whl"))
            if done.returncode or not wheels:
                reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
                yield _not_loaded(name, version, "", f"pip install {name}", reason)
            else:
                yield of_wheel(wheels[0], Path(folder) / "unpacked")


def of_wheel(wheel: Path, place: Path) -> Listed:
    """Return what a wheel brings, unpacked into a folder."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    (about,) = place.glob("*.dist-info")
    told = HeaderParser().parsestr((about / "METADATA").read_text(encoding="utf-8"))
    points = configparser.ConfigParser(delimiters="=")
    if (about / "entry_points.txt").is_file():
        points.read(about / "entry_points.txt", encoding="utf-8")
    modules = {value.partition(":")[0].strip() for value in points[GROUP].values()} if GROUP in points else set()
    project = "".join(f"[project.entry-points.{GROUP}]\n" * bool(modules))
    project += "".join(f'"{number}" = "{module}"\n' for number, module in enumerate(sorted(modules)))
    (place / "pyproject.toml").write_text(project)  # by which the modules are found as in a project's folder
    return _listed(place, told["Name"], told["Version"], told["Summary"] or "", f"pip install {told['Name']}")


def of_folder(folder: Path, install: str) -> Listed:
    """Return what a project's folder brings."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return _listed(folder, project["name"], project["version"], project.get("description", ""), install)


def _listed(place: Path, name: str, version: str, summary: str, install: str) -> Listed:
    try:
        origin = origin_of(f"path:{place}", Path())
    except InputError as error:
        return _not_loaded(name, version, summary, install, error.message.partition(": ")[2])
    known = Apart()
    outcomes = [one for file in origin.files for one in examine_apart(file, (), SECONDS, GIB, known)]
    count = Counter(one.state for one in outcomes)
    components = tuple(dict.fromkeys(one.component for one in outcomes if "/" in one.component))
    own = set(catalog().kinds())
    kinds = tuple(sorted({one.partition("/")[0] for one in components} - own))
    reasons = [f"{one.component}: {one.check}: {one.reason}" for one in outcomes if one.state == "failed"]
    reasons += [broken[2] for broken in known.broken]
    status = "failed" if count["failed"] else "not loaded" if known.broken or not components else "passed"
    conformance = {"status": status, **{state: count[state] for state in ("passed", "failed", "skipped")}}
    conformance |= {"ablate": ablate.__version__, "why": reasons[0][:REASON] if reasons else ""}
    return Listed(name, version, summary, components, kinds, _api_version(origin.files), install, conformance)


def _not_loaded(name: str, version: str, summary: str, install: str, why: str) -> Listed:
    conformance = {"status": "not loaded", "passed": 0, "failed": 0, "skipped": 0}
    conformance |= {"ablate": ablate.__version__, "why": why[:REASON]}
    return Listed(name, version, summary, (), (), None, install, conformance)


def _api_version(files: Sequence[str]) -> int | None:
    """Return the plugin API that modules say they were written for: the earliest. None: they do not say."""
    stated = []
    for file in (member for name in files for member in package_files(Path(name)) if member.suffix == ".py"):
        for node in ast.parse(file.read_bytes()).body:
            target: Any = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            value = getattr(node, "value", None)
            if getattr(target, "id", None) == "api_version" and isinstance(value, ast.Constant):
                stated.append(value.value)
    return min((one for one in stated if type(one) is int), default=None)


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", help="of packages, such as https://pypi.org; none is asked by default")
    parser.add_argument("--classifier", default=CLASSIFIER)
    parser.add_argument("--name", action="append", default=[], help="of a package in the index; repeatable")
    parser.add_argument("--folder", type=Path, action="append", default=[], help="of a project; repeatable")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    given = parser.parse_args()
    plugins = [of_folder(folder, f"pip install ./{folder.as_posix()}") for folder in given.folder]
    sources = ["folders of this repository"] if plugins else []
    if given.index is not None:
        plugins += of_index(given.index.rstrip("/"), given.classifier, given.name)
        sources.append(given.index)
    plugins.sort(key=lambda one: one.name)
    made = Directory(tuple(plugins), datetime.date.today().isoformat(), " and ".join(sources), str(given.out))
    write_atomic(given.out, json.dumps(made.to_json(), indent=1, ensure_ascii=False) + "\n")
    for one in plugins:
        print(f"{one.name} {one.version}: {one.conformance['status']} {one.conformance['why']}".rstrip())


if __name__ == "__main__":
    main()
