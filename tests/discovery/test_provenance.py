"""What counts as a component's source, and what may change in it."""

from __future__ import annotations

import ast
import hashlib
import textwrap
from pathlib import Path

import pytest

from ablate.discovery import provenance
from ablate.discovery.catalog import Catalog

SOURCE = '''
"""What it is for."""
from __future__ import annotations
import math

class Mine:
    """Documented."""
    scale: float = 1.5
    bits = 0x1F + 1_000

    async def f(self, x, /, *, y: int = 2):
        """Only words."""
        match x:
            case {"a": [1, *rest]} if rest:
                return f"a{{{x!r:>{y}}}}b" "c" f"{y=}", u"d", b"e", 1e5, 3j, ...
        return [z for z in x if not z] or (lambda q: q @ math.pi)
'''


def digest(text: str) -> str:
    return hashlib.sha256(provenance.dump(ast.parse(text)).encode()).hexdigest()


def test_every_python_makes_the_same_of_a_source():
    """A cluster may mix versions of Python: the hash is the one that 3.11, 3.12 and 3.13 gave when this was written."""
    assert digest(SOURCE)[:16] == "07a1c9da49859daa"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import math", "import math  # for pi\n\n"),
        ('"""Documented."""', '"""Documented otherwise."""'),
        ('        """Only words."""\n', ""),
        ("scale: float = 1.5", 'scale: float = 1.5\n    """Of the noise."""'),
        ("1_000", "1000"),
        ("0x1F", "31"),
        ('u"d"', "'d'"),
        ("[1, *rest]", "[\n   1,\n   *rest,\n]"),
    ],
)
def test_comments_docstrings_and_spelling_may_change(old, new):
    assert old in SOURCE and digest(SOURCE.replace(old, new)) == digest(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("1.5", "1.6"), ("1e5", "100000"), ("int = 2", "int = 3"), ("not z", "z"), ("/, *,", "*,"), ('b"e"', '"e"')],
)
def test_what_is_computed_may_not(old, new):
    assert old in SOURCE and digest(SOURCE.replace(old, new)) != digest(SOURCE)


def test_a_docstring_counts_where_the_code_reads_it(tmp_path: Path):
    file = tmp_path / "words.py"
    hashes = []
    for words in ("one", "two"):
        content = f'"""{words}"""\nsize = len(__doc__)\n'.encode()
        provenance.imported(file, content)
        hashes.append(provenance.source_hash(file, "words"))
    assert hashes[0] != hashes[1]


def test_deep_expressions_and_long_numbers_are_no_trouble():
    assert digest("x = " + "+".join(["1"] * 400)) != digest("x = " + "+".join(["1"] * 401))
    assert digest(f"x = 0x{'f' * 9000}") != digest(f"x = 0x{'e' * 9000}")


PLUGIN = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))
import json, torchless_helper
from ablate.api import Weighting

class Mine(Weighting):
    name = "mine"
    def weight(self, level, sigma_data):
        from helpers_of_mine.deep import inner
        import importlib
        return importlib.import_module("by_name_of_mine").ONE * level.snr
"""
HELPERS = {
    "torchless_helper.py": "import second_helper\n",
    "second_helper.py": "GAMMA = 5\n",
    "helpers_of_mine/__init__.py": "",
    "helpers_of_mine/deep/__init__.py": "from ..beside import x\n",
    "helpers_of_mine/deep/inner.py": "from ..other import x\nraise RuntimeError('hashing imports nothing')\n",
    "helpers_of_mine/other.py": "x = 1\n",
    "helpers_of_mine/beside.py": "x = 1\n",
    "by_name_of_mine.py": "ONE = 1\n",
}


def test_a_hash_covers_every_local_module_that_a_plugin_imports(tmp_path: Path):
    """Beside it, at any depth, inside functions, by name; nothing is imported to be hashed, and no folder matters."""
    seen: list[Path] = []

    def hashed(**changed: str) -> str:
        folder = tmp_path / str(len(seen))
        seen.append(folder)
        for name, text in {"mine.py": PLUGIN, "apart.py": "", **HELPERS, **changed}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(folder)
            return provenance.source_hash(folder / "mine.py", f"mine_{len(seen)}")

    before = hashed()
    assert hashed(**{name: f"{text}# a comment\n" for name, text in HELPERS.items()}) == before
    assert hashed(**{"apart.py": "y = 2\n"}) == before
    for name, text in {"mine.py": PLUGIN, **HELPERS}.items():
        if text:
            assert hashed(**{name: f"{text}changed = True\n"}) != before, name


def test_a_hash_is_of_what_was_imported(tmp_path: Path):
    """A worker that lives long does not report the file's new content, nor take a compiled file of old content."""
    file = tmp_path / "mine.py"
    text = textwrap.dedent(PLUGIN[PLUGIN.index("from ablate") :])
    file.write_text(text.replace("ONE *", "ONE * 2 *"))
    old = Catalog([file]).entry("weighting", "mine")
    file.write_text(text.replace("ONE *", "ONE * 3 *"))  # as long, and within the clock's second
    again = Catalog([tmp_path / "mine.py"]).entry("weighting", "mine")
    assert old.source_hash != again.source_hash
    consts = again.cls.weight.__code__.co_consts
    assert 3 in consts and 2 not in consts
