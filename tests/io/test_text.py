"""Text that is not ours, in every format that we write: it stays text, visible, in its place, and bounded."""

import csv
import io
import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ablate.cli.outcome import complain
from ablate.cli.terminal import echo, emit_json, table
from ablate.io import text
from ablate.io.columns import Column, layout

NASTY = (
    "$x_1$ and $",
    "\\begin{x} & % # _ ^ ~",
    "=1+1",
    "@SUM(A1)",
    "\t=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "[x](javascript:1) `code` **b** | more",
    "\x1b]0;title\x07\x1b[2J\x9b31m",
    "line\r\nbreak\u2028more",
    "\u202eabc\u2066\u200f",
    "\ud800 alone",
    "[bold]rich[/bold] [/]",
    "a" * 20_000,
)
foreign = st.text(max_size=60) | st.sampled_from(NASTY)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]")


def every(test):
    """With each of the nasty ones, besides what hypothesis finds."""
    for one in NASTY:
        test = example(one)(test)
    return settings(max_examples=40, deadline=None)(given(foreign)(test))


@every
def test_what_is_printed_commands_no_terminal(word):
    for fit in (text.printable(word), text.label(word)):
        assert not CONTROLS.search(fit) and "\n" not in fit
        fit.encode()
    assert not CONTROLS.search(text.message(word))
    assert len(text.label(word)) <= text.LABEL
    assert len(text.message(word)) <= 10 * (text.LINE + 1) * (word.count("\n") + 1)
    assert text.printable(text.printable(word)) == text.printable(word)


@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=40))
def test_what_is_printable_stays_as_it_is(word):
    assert text.printable(word) == word


@every
def test_a_cell_of_a_csv_file_is_no_formula_and_comes_back_from_a_reader(word):
    file = io.StringIO()
    csv.writer(file).writerow([text.csv(word), text.csv(-0.5), "end"])
    ((cell, number, end),) = csv.reader(io.StringIO(file.getvalue()))
    assert (number, end) == ("-0.5", "end")
    assert cell.lstrip(" ")[:1] not in tuple("=+-@\t\r\n") or not cell.strip() or float(cell) is not None


@every
def test_a_cell_of_a_markdown_table_is_one_cell_of_plain_text(word):
    cell = text.markdown(word)
    bare = re.sub(r"\\[!-/:-@\[-`{-~]|&(?:amp|lt|gt);", "", cell)
    assert not set(bare) & set("|`*_[]<>~$\\\n")


@every
def test_a_cell_of_a_latex_table_holds_no_command_of_its_own(word):
    cell = text.latex(word)
    escapes = "|".join(sorted(map(re.escape, set(text._LATEX.values())), key=len, reverse=True))
    assert not set(re.sub(escapes, "", cell)) & set("\\{}$&#^_~%[]\n")


@every
def test_json_comes_back_as_it_was(word):
    written = text.json(json.dumps({"a": word}, ensure_ascii=False))
    assert json.loads(written) == {"a": word}
    assert not CONTROLS.search(written)
    written.encode()


@pytest.mark.parametrize("word", NASTY)
def test_what_commands_print_commands_no_terminal(word, capsys):
    table(("name", "why"), [(word, word)], title=word, wrap="why")
    echo(word)
    emit_json({"a": word})
    complain(f"error: {word}")
    out, err = capsys.readouterr()
    assert not CONTROLS.search(out.replace("\n", "")) and not CONTROLS.search(err.replace("\n", ""))
    assert len(err) < 2_500


@given(
    st.lists(
        st.tuples(foreign.map(lambda s: s[:300]), st.floats(-1e6, 1e6), st.text(max_size=80)), min_size=1, max_size=5
    ),
    st.integers(40, 130),
)
@settings(max_examples=50, deadline=None)
def test_a_table_of_any_width_holds_every_number_whole(rows, width):
    numbers = tuple(f"{value:.4g} ± {abs(value) / 7:.2g}" for _, value, _ in rows)
    columns = [
        Column("candidate", tuple(name for name, _, _ in rows), name=True),
        *(Column(f"metric_of_features_{i}", numbers, right=True) for i in range(5)),
        Column("why", tuple(why for _, _, why in rows), wrap=True),
    ]
    lines = layout(columns, width)
    for i, number in enumerate(numbers):
        row = "\n".join(line.text for line in lines if line.row == i or line.kind == "note")
        assert row.count(number) == 5 or (len(set(numbers)) == 1 and row.count(number) >= 1)
    assert all(text_width(line.text) <= width for line in lines)


def text_width(line):
    from rich.cells import cell_len

    return cell_len(line)


def test_names_that_lose_their_middle_stay_apart():
    names = tuple(f"unet/schedule=linear/{middle}/weighting=p2/adagn" for middle in ("a" * 30, "b" * 30, "c" * 30))
    lines = layout([Column("candidate", names, name=True), Column("kid", ("1", "2", "3"), right=True)], 30)
    assert len({line.text.rsplit("  ", 1)[0] for line in lines if line.kind == "row"}) == 3
