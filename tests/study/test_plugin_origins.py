"""Plugins that a study names by a place: a folder, or a commit of a Git repository; pinned in the lock."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from segments_for_tests import CACHE, PLUGIN

from ablate.discovery import git_checkout, plugin_origins
from ablate.discovery.plugin_origins import origin_of
from ablate.errors import InputError
from ablate.execute.work import with_plugins
from ablate.results import Results
from ablate.study import lock
from ablate.study.launch import launch
from ablate.study.load import load_study

WEIGHTING = """
from ablate.api import Weighting

class Mine(Weighting):
    name = "{name}"

    def weight(self, level, sigma_data):
        return 0.0 * level.snr + {factor}
"""
PACKAGED = """
from ablate.api import Weighting
from {package}._factors import FACTOR

class Packaged(Weighting):
    name = "{package}"

    def weight(self, level, sigma_data):
        return 0.0 * level.snr + FACTOR
"""
STUDY = """\
study: placed
plugins: ["{plugin}", {probe}]
data: digits
base: {{backbone: probe, weighting: uniform, solver: {{type: ddim, steps: 1}}, batch: 16}}
vary: {{weighting: [uniform, {name}]}}
budget: {{steps: 2}}
evaluate: {{metrics: [{{type: kid, features: pixels}}], samples: 4, batch: 4, previews: 0}}
"""
GIT = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of each test's own for checkouts, and no figures."""
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    monkeypatch.setattr(git_checkout, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(Results, "figures", lambda *_, **__: [])
    git_checkout.checkout.cache_clear()
    yield
    git_checkout.checkout.cache_clear()


def git(folder: Path, *words: str) -> str:
    return subprocess.run([*GIT, "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout.strip()


def package(folder: Path, name: str, factor: float = 1.5, below: str = "") -> Path:
    """A distribution's project with a package that imports itself by its own name."""
    home = folder / below / name
    home.mkdir(parents=True, exist_ok=True)
    (home / "__init__.py").write_text("")
    (home / "weightings.py").write_text(PACKAGED.format(package=name))
    (home / "_factors.py").write_text(f"FACTOR = {factor}\n")
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\n[project.entry-points.ablate]\nmine = "{name}"\n'
    )
    return folder


def repository(tmp_path: Path, name: str) -> tuple[Path, str]:
    """A work tree and the address of a bare repository that it is pushed to."""
    work, bare = tmp_path / "work", tmp_path / "bare.git"
    work.mkdir()
    git(tmp_path, "init", "--quiet", "--bare", str(bare))
    git(work, "init", "--quiet")
    (work / "mine.py").write_text(WEIGHTING.format(name=name, factor=1.5))
    commit(work, bare)
    return work, f"file://{bare}"


def commit(work: Path, bare: Path, tag: str | None = None) -> str:
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "-m", "next")
    if tag:
        git(work, "tag", tag)
    git(work, "push", "--quiet", "--tags", str(bare), "HEAD:main")
    git_checkout.checkout.cache_clear()
    return git(work, "rev-parse", "HEAD")


def study(folder: Path, plugin: str, name: str) -> Path:
    file = folder / "study.yaml"
    file.write_text(STUDY.format(plugin=plugin, probe=PLUGIN, name=name))
    return file


def run(file: Path, out: Path) -> list[str]:
    lines: list[str] = []
    launched = launch(file, out=out, executor="local", say=lines.append)
    assert launched.outcome.failed == 0
    return [line for line in lines if line.startswith("plugin ")]


def test_a_package_in_a_folder_is_used_pinned_and_kept(tmp_path: Path) -> None:
    mine = package(tmp_path / "mine", "placed_package", below="src")
    (tmp_path / "studies").mkdir()
    file = study(tmp_path / "studies", "path:../mine", "placed_package")
    assert run(file, tmp_path / "out") == []
    [origin] = lock.read(tmp_path / "out")["origins"]
    assert origin["plugin"] == "path:../mine" and origin["pinned"] == f"path:{mine}" and origin["commit"] is None
    assert len(origin["content"]) == 64
    assert load_study(tmp_path / "out" / "study.yaml").origins[0].plugin == f"path:{mine}"

    (job,) = {one["plugins"][0] for one in [{"plugins": list(origin["files"])}]}
    shutil.rmtree(mine)  # the folder's own copy stands in, here and on a machine that never had it
    [kept] = load_study(tmp_path / "out" / "study.yaml").origins
    assert Path(kept.files[0]).is_relative_to(tmp_path / "out" / "sources")
    assert Path(kept.files[0]).with_name("_factors.py").read_text() == "FACTOR = 1.5\n"
    assert with_plugins({"plugins": [job]}, tmp_path / "out")["plugins"] == [kept.files[0]]


def test_a_commit_of_a_repository_is_pinned_and_a_branch_that_moved_is_refused(tmp_path: Path) -> None:
    work, url = repository(tmp_path, "of_a_branch")
    first = git(work, "rev-parse", "HEAD")
    file = study(tmp_path, f"git+{url}@main", "of_a_branch")
    assert run(file, tmp_path / "out") == []
    [origin] = lock.read(tmp_path / "out")["origins"]
    assert origin["commit"] == first and origin["pinned"] == f"git+{url}@{first}"
    assert f"git+{url}@{first}" in (tmp_path / "out" / "study.yaml").read_text()
    assert run(file, tmp_path / "out") == []  # nothing has moved

    (work / "mine.py").write_text(WEIGHTING.format(name="of_a_branch", factor=2.5))
    second = commit(work, tmp_path / "bare.git")
    with pytest.raises(InputError, match="complete trials stand on it") as refused:
        run(file, tmp_path / "out")
    assert first in str(refused.value) and second in str(refused.value)
    assert f"say git+{url}@{first}" in str(refused.value)
    shutil.rmtree(tmp_path / "bare.git")  # what is pinned needs no network
    git_checkout.checkout.cache_clear()
    assert run(tmp_path / "out" / "study.yaml", tmp_path / "out") == []


@pytest.mark.thorough
def test_a_change_of_a_comment_goes_on_and_is_told(tmp_path: Path) -> None:
    work, url = repository(tmp_path, "of_a_comment")
    file = study(tmp_path, f"git+{url}@main", "of_a_comment")
    run(file, tmp_path / "out")
    (work / "mine.py").write_text("# by me\n" + (work / "mine.py").read_text())
    second = commit(work, tmp_path / "bare.git")
    [line] = run(file, tmp_path / "out")
    assert second in line and "was commit" in line


def test_a_subfolder_and_a_tag(tmp_path: Path) -> None:
    work, url = repository(tmp_path, "of_a_tag")
    package(work / "inner", "inner_package")
    commit(work, tmp_path / "bare.git", tag="v1/a")
    origin = origin_of(f"git+{url}@v1/a#subdirectory=inner", tmp_path)
    assert [Path(file).parts[-2:] for file in origin.files] == [("inner_package", "__init__.py")]
    assert origin.pinned.endswith("#subdirectory=inner")
    Path(origin.files[0]).write_text("edited = True\n")  # in the cache, where nobody should
    git_checkout.checkout.cache_clear()
    assert Path(origin_of(origin.pinned, tmp_path).files[0]).read_text() == ""


@pytest.mark.parametrize(
    ("plugin", "why"),
    [
        ("path:nowhere", "there is no "),
        ("path:empty", "there is no module in it"),
        ("path:two", r"several modules \(a\.py, b\.py\)"),
        ("path:lost", "names the module 'gone', which is neither beside"),
        ("path:notes.txt", r"the name of a Python file ends in \.py"),
        ("git+URL@nope", "has no revision 'nope'"),
        ("git+URL@0123456789012345678901234567890123456789", "has no revision"),
        ("git+URL", "names no revision: say a commit, a tag or a branch behind '@'"),
        ("git+URL@--upload-pack=x", "is no name of a revision"),
        ("git+URL@main#egg=x", "stands subdirectory=FOLDER"),
        ("git+URL@main#subdirectory=../..", "has no folder"),
        ("git+file:///no/such/place@main", "cannot be fetched"),
        ("git+mine@main", "is no address of a repository"),
    ],
)
def test_a_wrong_place_is_one_message_with_its_line(tmp_path: Path, plugin: str, why: str) -> None:
    _, url = repository(tmp_path, "never_loaded")
    for name in ("empty", "two", "lost"):
        (tmp_path / name).mkdir()
    for name in ("a.py", "b.py", "test_a.py"):
        (tmp_path / "two" / name).write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "lost" / "pyproject.toml").write_text(
        '[project]\nname="x"\n[project.entry-points.ablate]\nx = "gone"\n'
    )
    file = study(tmp_path, plugin.replace("URL", url), "never_loaded")
    with pytest.raises(InputError, match=why) as refused:
        load_study(file)
    assert f"{file}:2" in str(refused.value)


def test_offline_a_branch_that_is_here_is_named_by_its_commit(tmp_path: Path) -> None:
    work, url = repository(tmp_path, "of_before")
    origin_of(f"git+{url}@main", tmp_path)
    shutil.rmtree(tmp_path / "bare.git")
    git_checkout.checkout.cache_clear()
    with pytest.raises(InputError, match=f"to use commit {git(work, 'rev-parse', 'HEAD')}, which is here"):
        origin_of(f"git+{url}@main", tmp_path)
    assert plugin_origins.expanded([f"git+{url}@{git(work, 'rev-parse', 'HEAD')}"])
