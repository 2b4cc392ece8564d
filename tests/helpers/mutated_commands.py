"""Command lines with something wrong in them, drawn by hypothesis from the options that the commands have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

SERVERS = {"dashboard", "worker"}  # what stays where all is in order: only with what is in no order
ODD_WORDS = (
    "", " ", "-", "--", "---", "-1", "0", "nan", "inf", "1e9", "10" * 30, "ü", "日本", "\x1b[2J", "a\nb", "\udc80",
    "x" * 3000, "/", ".", "..", "~", "/dev/null", "/proc/self/mem", "/root/nowhere/x", "a=b", "=", "seed=", "vary=3",
    "base.backbone=nothing", "study=../x", "design.seeds=-1", "budget={steps: 1}", "data=nan", "objectives=[[[",
    "executor=ray2", "--help=3", "--set", "--out", "-h", "auto", "cuda", "local", "all", "none", "None", "[1", "{",
    "budget.images=", "a..b=1", "*", "'",
)  # fmt: skip


@dataclass(frozen=True)
class CommandOptions:
    """A command's words, the flags and options that it has, and how many arguments it takes."""

    words: tuple[str, ...]
    flags: tuple[str, ...]
    options: tuple[str, ...]
    arguments: int


def commands_of(group: Any, words: tuple[str, ...] = ()) -> list[CommandOptions]:
    """Return all commands of a typer application, by what it says of itself."""
    found: list[CommandOptions] = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found += commands_of(command, (*words, name))
            continue
        options = [one for one in command.params if one.opts and one.opts[0].startswith("-")]
        flags = tuple(opt for one in options if one.is_flag for opt in (*one.opts, *one.secondary_opts))
        valued = tuple(opt for one in options if not one.is_flag for opt in one.opts)
        found.append(CommandOptions((*words, name), flags, valued, len(command.params) - len(options)))
    return found


@st.composite
def command_lines(draw: st.DrawFn, commands: Sequence[CommandOptions], files: Mapping[str, str]) -> list[str]:
    """Draw the words of a command line. files: what may stand for a study or a folder, by what it is."""
    command = draw(st.sampled_from(commands))
    wrong = [path for what, path in files.items() if what != "folder"]
    given = wrong if command.words[0] in SERVERS | {"run"} else list(files.values())
    value = st.one_of(st.sampled_from(ODD_WORDS), st.sampled_from(given), st.text(max_size=12))
    words = list(command.words)
    arguments = draw(
        st.sampled_from((command.arguments, command.arguments, max(0, command.arguments - 1), command.arguments + 1))
    )
    words += [draw(st.sampled_from(given) if draw(st.integers(0, 3)) else value) for _ in range(arguments)]
    for _ in range(draw(st.integers(0, 3))):
        match draw(st.sampled_from(("option", "option", "flag", "unknown", "bare"))):
            case "option" if command.options:
                words += [draw(st.sampled_from(command.options)), draw(value)]
            case "flag" if command.flags:
                words.append(draw(st.sampled_from(command.flags)))
            case "unknown":
                words.append(draw(st.sampled_from(("--nothing", "-z", "--exectuor", "--st", "--json=1", "--outt=x"))))
            case _:
                words.append(draw(value))
    return words
