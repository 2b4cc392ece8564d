"""Who calls a function reads of its arguments, and who types a command of its options."""

import re

import pytest
from refusals import refusal
from toy_study import TEXT, written

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
