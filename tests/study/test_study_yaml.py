"""Reading YAML: numbers as researchers write them, lines, and every way in which a file can be broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.errors import InputError
from ablate.study.yaml import parse, read, value

FILE = Path("f.yaml")


def test_numbers_are_numbers() -> None:
    data = parse("a: 200_000\nb: 1e-4\nc: 1.5\nd: 0x10\ne: true\nf: null\ng: no\nh: '3'", FILE).data
    assert data == {"a": 200_000, "b": 1e-4, "c": 1.5, "d": 16, "e": True, "f": None, "g": "no", "h": "3"}
    assert [type(v) for v in data.values()] == [int, float, float, int, bool, type(None), str, str]


def test_anchors_merges_and_dates_are_plain_data() -> None:
    text = "a: &x {p: true}\nb: {<<: *x, q: 2}\nc: &y true\nd: *y\ne: 2024-01-31"
    data = parse(text, FILE).data
    assert data == {"a": {"p": True}, "b": {"p": True, "q": 2}, "c": True, "d": True, "e": "2024-01-31"}
    assert type(data["d"]) is bool
    assert type(data["b"]) is dict


def test_lines_fall_back_to_what_a_value_stands_in() -> None:
    document = parse("# one\na:\n  b: 1\n  c:\n    - x\n    - {d: 3}\n", FILE)
    assert [document.line(p) for p in [(), ("a",), ("a", "b"), ("a", "c", 0), ("a", "c", 1, "d")]] == [1, 2, 3, 5, 6]
    assert document.line(("a", "c", 1, "d", "deeper")) == 6
    assert document.line(("a", "missing")) == 2
    assert document.where(("a", "b")) == "f.yaml:3"


def test_a_value_that_was_set_says_by_what() -> None:
    document = parse("a: {b: {c: 1}}\nd: name\n", FILE).with_value(("a", "b"), {"e": 2}, "--set a.b={e: 2}")
    assert document.data == {"a": {"b": {"e": 2}}, "d": "name"}
    assert document.where(("a", "b", "e")) == "--set a.b={e: 2}"
    assert document.where(("a",)) == "f.yaml:1"
    deeper = document.with_value(("d", "x"), 1, "--set d.x=1")
    assert deeper.data["d"] == {"type": "name", "x": 1}
    assert deeper.where(("d", "type")) == "f.yaml:2"
    with pytest.raises(InputError, match=r"--set q: a.b.e is 2, which has no 'f'; give it whole"):
        document.with_value(("a", "b", "e", "f"), 1, "--set q")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key 'a' stands here and on line 1"),
        ("o:\n  a: 1\n  b: 2\n  a: 3\n", "f.yaml:4: the key 'a' stands here and on line 2"),
        ("a:\n\tb: 1\n", "f.yaml:2: a tab stands in the indentation"),
        ("a:\n  b: 1\n\tc: 1\n", "f.yaml:3: a tab stands in the indentation"),
        ("a: [1, 2\nb: 3\n", "f.yaml:2: expected ',' or ']'"),
        ("a: {b: 1\n", "begun on line 1"),
        ("a: 'x\n", "begun on line 1"),
        ("a: b: c\n", "f.yaml:1: a second ': ' in one line"),
        ("a: 1\n---\nb: 1\n", "f.yaml:2: a second document begins here"),
        ("", "f.yaml: the file is empty"),
        ("# nothing\n", "f.yaml: the file is empty"),
        ("[1, 2]\n", "f.yaml:1: expected `key: value` lines"),
        ("hello\n", "f.yaml:1: expected `key: value` lines"),
        ("a: 1\n3: 2\n", "a key must be a word, not 3"),
        ("a: *b\n", "f.yaml:1: found undefined alias 'b'"),
        ("a: 1\nb: !new x\n", "f.yaml:2: the tag !new means nothing here"),
        ("a: 1\nb: !!binary aGk=\n", "f.yaml:2: expected words, numbers, lists and mappings, not a bytes"),
        ("a: \x00\n", "f.yaml:1: holds a character that YAML does not allow"),
        ("a: " + "[" * 600, "f.yaml: is nested too deeply"),
        ("a: 1\nb: 2020-99-99\n", "f.yaml:2: '2020-99-99' looks like a number or a date"),
        ("a: &x [*x]\nb:\n  - !!int 'abc'\n", "f.yaml:3: 'abc' looks like a number or a date"),
        ("a: 1\n\nb: -_\n", "f.yaml:3: '-_' looks like a number or a date"),
        ("a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcde", "bcdef", strict=True)
        ), "holds more than 100000 values"),
    ],
)  # fmt: skip
def test_what_is_broken_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, FILE)
    assert message in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "dit_study.yaml").write_text("a: 1\n")
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(InputError, match=r"latin\.yaml:2: is not UTF-8 \(byte 0xe9\)"):
        read(tmp_path / "latin.yaml")
    with pytest.raises(InputError, match=r"dit_stuy\.yaml: there is no such file; did you mean .*dit_study\.yaml\?"):
        read(tmp_path / "dit_stuy.yaml")
    with pytest.raises(InputError, match=r"did you mean .*dit_study\.yaml\?"):
        read(tmp_path / "dit_study")
    with pytest.raises(InputError, match=r"is a folder, not a study file; there is: dit_study\.yaml, latin\.yaml"):
        read(tmp_path)
    with pytest.raises(InputError, match="nor a folder"):
        read(tmp_path / "nowhere" / "x.yaml")


def test_a_byte_order_mark_is_no_character(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(tmp_path / "bom.yaml").data == {"a": 1}


@settings(deadline=None)
@given(st.text(alphabet="ab: -[]{}'\"\n\t#&*!|>%@,0._<", max_size=40))
def test_any_text_is_a_mapping_or_one_input_error(text: str) -> None:
    try:
        document = parse(text, FILE)
    except InputError as error:
        assert str(error).startswith("f.yaml")
    else:
        assert type(document.data) is dict


def test_values_of_the_command_line() -> None:
    assert value("20_000", "--set a=20_000") == 20_000
    assert value("[adaln, {type: dit}]", "x") == ["adaln", {"type": "dit"}]
    with pytest.raises(InputError, match=r"^--set a=\[1: "):
        value("[1", "--set a=[1")
