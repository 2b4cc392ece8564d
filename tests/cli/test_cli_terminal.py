"""Numbers for people, and the front that is shown while a study runs."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ablate.candidates.objectives import Objective
from ablate.cli.front import best_front
from ablate.cli.live import Lines, Screen
from ablate.cli.terminal import console, duration, emit_json, size, table, wrapped
from ablate.engine import Progress, Running

KID, GFLOPS, RECALL = Objective("kid", "kid_x"), Objective("gflops", "gflops"), Objective("recall", "r_x", True)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (0.2, "< 1 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (3601, "1 h"),
        (273_600, "3 d 4 h"),
        (float("nan"), "–"),
    ],
)
def test_durations(seconds, expected):
    assert duration(seconds) == expected


def test_sizes():
    assert [size(n) for n in (0, 1023, 1024, 18_000_000, 2**45)] == ["0 B", "1023 B", "1 KiB", "17.2 MiB", "32 TiB"]


def test_a_table_in_a_pipe_has_whole_lines(capsys):
    table(("name", "value"), [("a" * 200, "1"), ("b", "1000")], wrap="name")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{'name':200}  value", f"{'a' * 200}      1", f"{'b':200}   1000"]


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert console().no_color


def test_json_has_no_nan(capsys):
    emit_json({"a": float("nan"), "b": [float("inf"), 1.5]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5]}


def record(config, seed, kid, gflops, recall=0.0, state="complete"):
    rows = [{"metric": "kid_x", "value": kid}, {"metric": "r_x", "value": recall}] if state == "complete" else []
    choices = {"backbone.width": config}
    return {"config_hash": config, "seed": seed, "choices": choices, "state": state, "gflops": gflops, "metrics": rows}


values = st.integers(0, 4).map(float)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 2), values, values, values), max_size=14))
def test_the_front_is_of_the_means_that_no_other_beats(rows):
    records = {f"{c}-s{s}": record(c, s, k, g, r) for c, s, k, g, r in rows}
    means = {}
    for config in {r["config_hash"] for r in records.values()}:
        of = [r for r in records.values() if r["config_hash"] == config]
        table = [[o.value(r) for o in (KID, GFLOPS, RECALL)] for r in of]
        means[config] = tuple(sum(column) / len(of) for column in zip(*table, strict=True))

    def beats(a, b):
        a, b = (*a[:2], -a[2]), (*b[:2], -b[2])
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    expected = {c for c, v in means.items() if not any(beats(w, v) for w in means.values())}
    front = best_front(records, (KID, GFLOPS, RECALL))
    assert {one.label for one in front} == expected
    assert all(one.values == pytest.approx(means[one.label]) for one in front)
    assert [one.values[0] for one in front] == sorted(one.values[0] for one in front)


def test_seeds_without_a_value_do_not_stand_on_the_front():
    records = {
        "1": record("a", 0, 0.1, 1.0),
        "2": record("a", 1, 0.0, 1.0, state="diverged"),
        "3": record("b", 0, 0.0, 0.5, state="diverged"),
        "4": record("c", 0, float("nan"), 0.1),
    }
    assert [(one.label, one.seeds) for one in best_front(records, (KID, GFLOPS))] == [("a", 1)]
    assert best_front({}, (KID,)) == [] and best_front(records, ()) == []


def test_lines_tell_every_event_and_how_far_it_is_at_times(capsys):
    now = [0.0]
    running = (Running("t", "adaln", 0, "train", 500, 1000, 0.25, 100.0),)
    view = Lines("study", (KID,), clock=lambda: now[0])
    for second, lines in ((1, ("one",)), (29, ()), (31, ()), (40, ("two", "three")), (60, ()), (62, ())):
        now[0] = float(second)
        view(Progress(4, 1, 1, 0, running, 90.0, {}, lines))
    printed = capsys.readouterr().out.splitlines()
    far = "... 2/4 trials, 1 failed, about 1 min 30 s left; adaln seed 0 train (500/1 000, loss 0.25, 100 images/s)"
    assert printed == ["[2/4] one", far, "[2/4] two", "[2/4] three", far]


FRONT = {
    f"{c}-s0": record(f"a candidate with a long name: {c}", 0, 0.1234 + i, 1.5e6 - i) for i, c in enumerate("abcdef")
}
AT_WORK = tuple(
    Running(f"t{seed}", "a candidate with a long name", seed, "train", 12_345, 678_900, 0.4321, 987.0)
    for seed in range(3)
)
WHOLE = ("3/12 trials", "1 diverged", "5 min", "12 345/678 900", "0.432", "987 images/s", "seed 2", "0.1234", "1.5e+06")


@pytest.mark.parametrize("width", [120, 80, 60, 40])
@pytest.mark.parametrize("height", [50, 24])
def test_the_live_view_cuts_no_number_and_is_not_higher_than_the_terminal(width, height, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen("a_study_with_a_name_that_is_longer_than_a_narrow_terminal_is", (KID, GFLOPS))
    screen.console = Console(width=width, height=height, file=io.StringIO(), highlight=False)
    screen.progress = Progress(12, 2, 1, 1, AT_WORK, 300.0, FRONT, ())
    screen.front = best_front(FRONT, (KID, GFLOPS))
    screen.console.print(screen.frame())
    lines = screen.console.file.getvalue().rstrip("\n").split("\n")
    printed = " ".join(" ".join(lines).split())
    assert all(len(line.rstrip()) <= width for line in lines) and len(lines) <= height
    assert [one for one in WHOLE if one not in printed] == []


class Terminal(io.StringIO):
    """A stream that says it is a terminal; how wide it is stands in COLUMNS."""

    def isatty(self):
        return True


def test_messages_break_at_words_in_a_terminal_and_leave_commands_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = "warning: the samples are 56.6 % too narrow: take 150 steps; `ablate run study.yaml --set a=1` does it"
    lines = wrapped(text, Terminal()).split("\n")
    assert " ".join(lines) == text and any("`ablate run study.yaml --set a=1`" in line for line in lines)
    assert all(len(line) <= 40 for line in lines)
    command = "ablate status /a/folder/with/a/long/name and-more"
    assert wrapped(f"4 trials failed; for the reasons: {command}", Terminal()).split("\n")[-1] == command
    assert wrapped(text, io.StringIO()) == text
