"""Whatever is in a file, reading it as a study is a study or one message: no traceback, no other sort of file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from refusals import bent, refusal
from toy_study import TEXT, line_of

from ablate.errors import InputError
from ablate.study.load import load_study

STUDIES = Path(__file__).parents[2] / "studies"
BITS = (
    *(b"<<: &a {<<: *a}", b"<<: ", b"&a ", b"*a", b"!!set ", b"!!binary ", b"!!omap ", b"!!float ", b"!!null ", b"? "),
    *(b"\r", b"\x00", b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xc2\x85", b"\t", b"---\n"),
    *(b": ", b"- ", b"|", b">", b"'", b'"', b"{", b"}", b"[", b"]", b",", b"#", b"@", b"%YAML 1.1\n---\n"),
    *(b"1e400", b".nan", b"9" * 5000, b"0x1f", b"-_", b"12:30:45", b"2001-01-01", b'"\\ud800"', b'"\\0"', b"~"),
)


def mutated(text: bytes, chance: random.Random) -> bytes:
    """A few bytes put in, taken away, moved or exchanged, or other ends of lines."""
    mutant = bytearray(text)
    for _ in range(chance.choice([1, 1, 2, 3])):
        at = chance.randrange(len(mutant) + 1)
        match chance.randrange(6):
            case 0 | 1:
                mutant[at:at] = chance.choice(BITS)
            case 2:
                del mutant[at : at + chance.randrange(1, 12)]
            case 3:
                mutant[at : at + 1] = bytes([chance.randrange(256)])
            case 4:
                moved = chance.randrange(len(mutant) + 1)
                mutant[moved:moved] = mutant[at : at + chance.randrange(1, 60)]
            case _:
                ends = chance.choice([b"\r", b"\r\n", b"\xc2\x85", b"\n\n"])
                mutant = bytearray(bytes(mutant).replace(b"\n", ends, chance.choice([1, 5, -1])))
    return bytes(mutant)


def test_a_damaged_study_loads_or_is_one_message(tmp_path: Path) -> None:
    chance = random.Random(7)
    texts = [path.read_bytes() for path in sorted(STUDIES.glob("*.yaml"))]
    refused = 0
    for number in range(70):
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(mutated(chance.choice(texts), chance))
        try:
            load_study(path)
        except InputError as error:
            refused += 1
            assert str(error).startswith(str(path)) and len(str(error)) < 5000
    assert refused > 20  # it is a test of messages, after all


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("<<: &a {<<: *a}", "a merge (<<) of something that is no mapping, or that holds itself"),
        ("question: {scale: 1.5,!!set  drop: 0.1}", "a tag (!…) that does not fit what it stands before"),
        ('executor: ["a\\0b.py"]', "'a\\x00b.py' holds the character '\\x00', which no name or path has"),
        ('executor: "\\ud800"', "'\\ud800' holds the character '\\ud800', which no name or path has"),
        ("executor: {steps: 1,000}", "a comma ends the value before 0: a number is written without, such as 1000"),
        ("executor:\n  2.5: 3", "a key must be a word, not 2.5; put it in quotes"),
    ],
)
def test_what_no_study_holds_is_told_at_its_line(tmp_path: Path, new: str, message: str) -> None:
    lines = refusal(tmp_path, bent("seed: 3", new))
    line = line_of(TEXT, "seed: 3") + new.count("\n")
    assert len(lines) == 1 and lines[0].startswith(f"study.yaml:{line}: {message}")


def test_damaged_ends_of_lines_are_counted_as_yaml_counts_them(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(TEXT.replace("\n", "\r").replace("seed: 3", "batch: 3\rbatch: 4").encode())
    with pytest.raises(InputError, match=f"the key 'batch' stands here and on line {line_of(TEXT, 'seed: 3')}"):
        load_study(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.yaml", (STUDIES / "models" / "dit_s_8.yaml").read_bytes(), "is a model, not a study: `ablate plan`"),
        ("base.yaml", b"backbone: dit\nschedule: linear\n", "holds a candidate, not a study: put it under `base:`"),
        ("lock.json", b'{"identity": "", "science": {}, "versions": {}}', "is the lock of a study's folder"),
        ("other.yaml", b"services: {web: {image: nginx}}\n", "is no study: it has none of study, data, base"),
        ("net.py", b"import torch\n", "is Python code"),
        ("trials.parquet", b"PAR1\0\0\0\x98", "is a .parquet file without text"),
        ("wide.yaml", "study: a\n".encode("utf-16"), "is text in UTF-16"),
    ],
)
def test_a_file_of_another_sort_is_called_by_its_name(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_study(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: {message}") and "\n" not in str(caught.value)


def test_the_folder_of_a_study_says_where_its_file_is(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text("{}")
    with pytest.raises(InputError, match=r"folder of a study that was run; its file is .*study.yaml"):
        load_study(tmp_path)


def test_a_path_that_is_not_there_is_told_where_it_was_said(tmp_path: Path) -> None:
    text = TEXT.replace("  type: toy\n  size: 8", "  type: folder\n  path: here")
    assert refusal(tmp_path, text, overrides=["data.path=/nowhere/x"]) == [
        "--set data.path=/nowhere/x: data.path: /nowhere/x: there is no such folder or file"
    ]
    assert refusal(tmp_path, text.replace("here", "/nowhere/y")) == [
        f"study.yaml:{line_of(text, 'path:')}: data.path: /nowhere/y: there is no such folder or file"
    ]


def test_a_path_that_goes_out_from_the_studys_file_is_told_where_it_was_said(tmp_path: Path) -> None:
    text = TEXT.replace("  type: toy\n  size: 8", "  type: folder\n  path: here")
    problem = "there is no such folder or file"
    assert refusal(tmp_path, text, overrides=["data.path=x"]) == [f"--set data.path=x: data.path: x: {problem}"]
    assert refusal(tmp_path, text) == [f"study.yaml:{line_of(text, 'path:')}: data.path: here: {problem}"]


def test_a_number_s_own_name_leads_to_its_metric_and_features(tmp_path: Path) -> None:
    lines = refusal(tmp_path, bent("samples: 200", "samples: 200\n  metrics: [fid]"))
    assert "say {type: fd, features: inception_v3}" in lines[0] and "sfid" not in lines[0]


def test_a_mistake_in_set_has_no_line(tmp_path: Path) -> None:
    lines = refusal(tmp_path, TEXT, overrides=["budget={steps: 1,000}"])
    assert lines[0].startswith("--set budget={steps: 1,000}: a comma ends the value before 0")
