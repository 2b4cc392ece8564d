"""Who calls a function reads of its arguments, and who types a command of its options."""

import re
from pathlib import Path

import numpy as np
import pytest
from refusals import refusal
from toy_study import PLUGIN, TEXT, written

import ablate
from ablate.errors import InputError
from ablate.study.load import load_study

OPTION = re.compile(r"(?<!\w)--[a-z]")
WRONG = (
    (
        {"plugins": ["nope.py"]},
        "plugins='nope.py': there is no plugin file",
        "--plugin nope.py: there is no plugin file",
    ),
    ({"plugins": ["no\0pe.py"]}, "plugins: 'no\\x00pe.py' is no name", "--plugin: 'no\\x00pe.py' is no name"),
    ({"profile": "bgi"}, "profile='bgi': there is no profile", "--profile bgi: there is no profile"),
    ({"overrides": ["budget"]}, "overrides='budget': expected", "--set budget: expected"),
    ({"overrides": ["seed=-4", "budget={}"]}, "overrides='budget={}': budget", "--set budget={}: budget"),
)


@pytest.mark.parametrize(("given", "python", "command"), WRONG)
def test_an_argument_is_named_as_its_reader_gave_it(given, python, command, tmp_path):
    with pytest.raises(InputError) as caught:
        load_study(written(tmp_path, TEXT), **given)
    assert python in str(caught.value) and not OPTION.search(str(caught.value))
    assert command in "\n".join(refusal(tmp_path, TEXT, **given))


def test_advice_names_arguments_too(tmp_path):
    with pytest.raises(InputError, match=r"plugins='nope\.py': there is no plugin file"):
        ablate.plan(written(tmp_path, TEXT), plugins=["nope.py"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "else.txt").write_text("something else")
    with pytest.raises(InputError, match=r"give another folder with out="):
        ablate.run(written(tmp_path, TEXT), out=tmp_path / "out")


@pytest.mark.parametrize("plugins", [str(PLUGIN), Path(PLUGIN), [Path(PLUGIN)], (str(PLUGIN),)])
def test_plugins_are_names_or_paths_and_one_needs_no_list(plugins):
    assert "toy_tokens" in ablate.catalog(plugins).names("backbone")
    with pytest.raises(InputError, match=r"plugins='nope\.py': there is no plugin file"):
        ablate.plan({"study": "x", "data": "digits"}, plugins=Path("nope.py"))
    with pytest.raises(InputError, match=r"plugins='nope': there is no package 'nope'"):
        ablate.plan({"study": "x", "data": "digits"}, plugins="nope")


def test_overrides_are_what_a_file_could_hold_and_numbers_of_numpy(tmp_path):
    study = written(tmp_path, TEXT)
    for value, text in ((np.int64(-5), "-5"), (np.float32(-0.5), "-0.5"), (Path("a/b"), '"a/b"')):
        with pytest.raises(InputError, match=rf"overrides='budget\.images={text}': budget\.images: "):
            ablate.plan(study, **{"budget.images": value})
    with pytest.raises(InputError, match=r"^overrides: vary: expected words, numbers, lists and mappings, not a set$"):
        ablate.plan(study, vary={1, 2})
    for wrong in (None, [1, 2], 3):
        with pytest.raises(InputError, match=r"^study: a study is a YAML file or a mapping, not a \w+$"):
            ablate.plan(wrong)
