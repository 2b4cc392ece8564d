"""Hooks of the documentation site (mkdocs): the site is laid out as the repository is, so that links work in both.

A page stands in the site under its path in the repository (`docs/tutorial.md`, `results/README.md`, `CHANGELOG.md`). A
relative link between two Markdown files therefore needs no rewriting: it means the same on a code host and in the site.
What a page links to and is no page (a source file, a picture, a study) is copied beside it; a folder that is linked to
and has no README.md gets a page that lists its files.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
RESULTS = "results/README.md"
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md", RESULTS)
FOLDERS = ("docs", "results/curated")  # whose Markdown files are all pages
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")  # the target of a Markdown link, unless it has a scheme (https:)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write out what the navigation names by a pattern: `docs/kinds/*.md` stands for every page that it matches."""
    config.nav = [written_out(entry) for entry in config.nav or []]
    return config


def written_out(entry: Any) -> Any:
    """An entry of the navigation without patterns."""
    if isinstance(entry, dict):
        return {title: written_out(inner) for title, inner in entry.items()}
    if isinstance(entry, list):
        return [one for inner in entry for one in (matches(inner) if is_pattern(inner) else [written_out(inner)])]
    return entry


def is_pattern(entry: Any) -> bool:
    """Whether an entry of the navigation names several pages."""
    return isinstance(entry, str) and "*" in entry


def matches(pattern: str) -> list[str]:
    """The pages that a pattern names, in order of their names; a folder's README.md stands elsewhere."""
    files = sorted(ROOT.glob(pattern))
    return [file.relative_to(ROOT).as_posix() for file in files if file.name != "README.md"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Give every page its path in the repository, and add what the pages link to."""
    theme = [file for file in files if not str(file.abs_src_path).startswith(str(config.docs_dir) + os.sep)]
    pages = [ROOT / page for page in PAGES if (ROOT / page).is_file()]
    pages += [page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md"))]
    found = {page.relative_to(ROOT).as_posix(): mounted(page, config) for page in pages}
    for page in pages:
        for target in targets(page):
            if target.is_dir() and not (target / "README.md").is_file():
                index = f"{target.relative_to(ROOT).as_posix()}/README.md"
                found[index] = File.generated(config, index, content=listing(target))
                for file in listed(target):
                    found.setdefault(file.relative_to(ROOT).as_posix(), mounted(file, config))
            elif target.is_file():
                found.setdefault(target.relative_to(ROOT).as_posix(), mounted(target, config))
    return Files([*theme, *found.values()])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let a link to a folder lead to its README.md, as it does on a code host; show pictures with the results."""
    if page.file.src_uri == RESULTS:
        markdown += gallery(files)
    here = posixpath.dirname(page.file.src_uri)

    def replaced(match: re.Match[str]) -> str:
        index = posixpath.normpath(posixpath.join(here, match[1], "README.md"))
        return f"]({posixpath.join(match[1], 'README.md')}" if files.get_file_from_path(index) else match[0]

    return LINK.sub(replaced, markdown)


def gallery(files: Files) -> str:
    """The front of quality against cost of every committed run, each a link to the run's own page."""
    lines = ["", "## Pictures", ""]
    for figure in (file.src_uri for file in files if file.src_uri.endswith("/figures/front.png")):
        folder = posixpath.relpath(figure.removesuffix("/figures/front.png"), posixpath.dirname(RESULTS))
        title = posixpath.basename(folder)
        lines += [f"### {title}", "", f"[![the front of {title}]({folder}/figures/front.png)]({folder}/README.md)", ""]
    return "\n".join(lines)


def mounted(file: Path, config: MkDocsConfig) -> File:
    """A file of the repository, at its own path in the site."""
    path = file.relative_to(ROOT).as_posix()
    return File.generated(config, path, abs_src_path=str(file), inclusion=InclusionLevel.INCLUDED)  # also `.ci/run`


def targets(page: Path) -> Iterator[Path]:
    """What a page links to inside the repository; a link that leads nowhere is left for mkdocs to refuse."""
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target = Path(os.path.normpath(page.parent / link))
        if target.is_relative_to(ROOT) and target != ROOT:
            yield target


def listed(folder: Path) -> list[Path]:
    """The files of a folder that its page lists."""
    return [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")]


def listing(folder: Path) -> str:
    """A page with a link to each file of a folder, Markdown files by their titles."""
    lines = [f"# {folder.relative_to(ROOT).as_posix()}", ""]
    for file in listed(folder):
        title = file.name
        if file.suffix == ".md":
            title = file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({file.name})")
    return "\n".join([*lines, ""])
