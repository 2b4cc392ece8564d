"""Display names of candidates, the same in the live view, tables, figures, messages, the dashboard and the report."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ablate.io import text

Choices = Mapping[str, Any]  # {dotted path: label}, without the paths that a candidate does not have

_WORD = re.compile(r"[A-Za-z]\w*(\(.*\))?")
_VAGUE = {"true", "false", "none"}


@dataclass(frozen=True)
class Names:
    """Format the display names of one study's candidates; a name depends on the study, not on which trials exist yet.

    So a candidate has the same name while it runs and in the table of the whole study. Called with a candidate's
    choices. Without `varied`, a name holds all of them.
    """

    baseline: Choices = field(default_factory=dict)
    varied: tuple[str, ...] | None = None  # paths that tell candidates apart, in the order of the name
    clear: tuple[str, ...] = ()  # of them, those whose labels speak for themselves
    one_factor: bool = False  # whether candidates differ from the baseline in one path at the most

    @classmethod
    def among(cls, candidates: Sequence[Choices], baseline: Choices | None = None) -> Names:
        """Make names that distinguish these candidates."""
        base = baseline or {}
        paths = list(dict.fromkeys(path for choices in candidates for path in choices))
        labels = {p: {show(choices[p]) for choices in candidates if p in choices} for p in paths}
        varied = [p for p in paths if len(labels[p]) + any(p not in choices for choices in candidates) > 1] or paths
        changed = [sum(_differs(choices, base, p) for p in varied) for choices in candidates]
        single = len(varied) > 1 and bool(base) and max(changed, default=0) <= 1
        return cls(base, tuple(varied), _clear({p: labels[p] for p in varied}), single)

    @classmethod
    def of_space(cls, labels: Mapping[str, Iterable[Any]], ranges: Iterable[str], baseline: Choices) -> Names:
        """Make names for all candidates of a search space: labels {path: its choices}; ranges: paths of numbers."""
        formatted = {path: {show(label) for label in texts} for path, texts in labels.items()}
        many = {*(path for path, texts in formatted.items() if len(texts) > 1), *ranges}
        paths = [p for p in dict.fromkeys((*baseline, *formatted, *ranges)) if p in many] or list(formatted)
        return cls(baseline, tuple(paths), _clear({p: texts for p, texts in formatted.items() if p in paths}))

    @classmethod
    def read(cls, lock: Mapping[str, Any]) -> Names | None:
        """Read the names from a study's lock file; None where it holds none, as one of an earlier version."""
        stored, base = lock.get("names"), lock.get("baseline")
        if not isinstance(stored, Mapping) or not isinstance(base, Mapping):
            return None
        varied, clear = stored.get("varied"), stored.get("clear")
        if not isinstance(varied, list) or not isinstance(clear, list):
            return None
        return cls(dict(base), tuple(map(str, varied)), tuple(map(str, clear)), stored.get("one_factor") is True)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON for a study's lock file, which holds the baseline beside it."""
        return {"varied": list(self.varied or ()), "clear": list(self.clear), "one_factor": self.one_factor}

    def __call__(self, choices: Choices) -> str:
        """Format the name of the candidate with these choices: one printable line."""
        varied = tuple(choices) if self.varied is None else self.varied
        leaf = _unique_endings(varied)
        if self.one_factor:  # name what was changed
            changed = [f"{leaf[p]}={show(choices[p])}" for p in varied if _differs(choices, self.baseline, p)]
            return text.label(", ".join(changed) or "baseline")
        words = (
            show(choices[p]) if self._is_clear(p, choices[p]) else f"{leaf[p]}={show(choices[p])}"
            for p in varied
            if p in choices
        )
        if name := text.label("/".join(words)):
            return name
        is_baseline = bool(self.baseline) and not any(_differs(choices, self.baseline, p) for p in choices)
        return "baseline" if is_baseline else "base"

    def _is_clear(self, path: str, label: Any) -> bool:
        """Return whether a label says without its path what it is."""
        return path in self.clear if self.varied is not None else bool(_WORD.fullmatch(show(label)))

    def trial(self, job: Mapping[str, Any]) -> str:
        """Format a trial, given its job or record: its candidate's name and its seed."""
        return f"{self(job.get('choices') or {})}, seed {job.get('seed')}"


def show(label: Any) -> str:
    """Format a choice's label: a name, a number, or `type(field=value)` for a spec."""
    try:
        return _known_word(label)
    except TypeError:  # a spec, which has no hash
        return _word(label)


def _word(label: Any) -> str:
    if isinstance(label, str) and label.startswith("{"):
        try:
            label = json.loads(label)
        except ValueError:
            return str(label)
    if isinstance(label, Mapping):
        rest = ", ".join(f"{k}={show(v)}" for k, v in sorted(label.items()) if k != "type")
        return f"{label.get('type', '')}({rest})" if rest else str(label.get("type", "{}"))
    if isinstance(label, list | tuple):
        return f"[{', '.join(map(show, label))}]"
    if label is None or (str(label) in ("nan", "<NA>", "NaT") and not isinstance(label, str)):
        return "none"
    if isinstance(label, str):
        return label
    if str(label) in ("True", "False"):
        return str(label).lower()
    return f"{label:g}" if float(label) != int(label) else str(int(label))


_known_word = lru_cache(maxsize=4096, typed=True)(_word)  # 1, 1.0 and True are three labels


def _differs(choices: Choices, baseline: Choices, path: str) -> bool:
    return path in choices and show(choices[path]) != show(baseline.get(path))


def _clear(labels: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Return the paths whose labels speak for themselves: names, and no other path has one of them."""
    counts = Counter(label for texts in labels.values() for label in texts)
    return tuple(
        path
        for path, texts in labels.items()
        if texts and all(_WORD.fullmatch(x) and counts[x] == 1 and x not in _VAGUE for x in texts)
    )


@lru_cache(maxsize=64)
def _unique_endings(paths: tuple[str, ...]) -> Mapping[str, str]:
    """Return the shortest ending of each dotted path that no other path shares."""
    names = {}
    for path in paths:
        parts = path.split(".")
        for n in range(1, len(parts) + 1):
            name = ".".join(parts[-n:])
            if sum(other == name or other.endswith(f".{name}") for other in paths) == 1:
                break
        names[path] = name
    return names
