"""A study's folder while it runs: what the trials at work last told, and the page, made anew when results come."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ablate.candidates.names import Names
from ablate.errors import InputError
from ablate.io.files import read_json
from ablate.io.text import label, message
from ablate.results import signs
from ablate.results.report import Parts, environment_of_pages, parts, text_of
from ablate.results.results import Results, load
from ablate.results.tracked import Observed, observed
from ablate.worker import previews, records

OPEN = 12  # trials at work that the page shows
POINTS = 120  # points of a curve on it
SHARE = 0.2  # of one core's time, at the most, that goes into making the page anew
SIGNS = (records.RECORD, records.PAUSE, "failure.json", "measured")  # in a trial's folder: results that came
BEST = 5  # candidates on a study's card


class WatchedStudy:
    """A study's folder, as its page is served. Methods may be called by several threads; each builds at most once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._building = threading.Lock()
        self._looking = threading.Lock()
        self._state: tuple[float, dict[str, Any]] | None = None  # when, and what was found
        self._parts = Parts("", "", "{}")
        self._version = ""  # of the parts
        self._due = 0.0  # time of the next building, at the earliest
        self._card: dict[str, Any] = {}
        self.name = label(folder.resolve().name)

    def content(self) -> tuple[str, Parts]:
        """Return the version of the page, and what stands on it; made anew where results have come since."""
        with self._building:
            now = _fingerprint(self.folder)
            if now != self._version and time.monotonic() >= self._due:
                begun = time.monotonic()
                try:
                    results = load(self.folder)
                    made, self._card, self.name = parts(results, ()), _card(results), results.name
                except InputError as error:
                    made = _problem(self.name, error.message)
                except Exception as error:  # noqa: BLE001 - half of a folder: the next look may read it
                    made = _problem(self.name, f"cannot be read yet ({type(error).__name__}: {error})")
                self._parts, self._version = made, now
                self._due = time.monotonic() + (time.monotonic() - begun) * (1 / SHARE - 1)
            return self._version, self._parts

    def state(self) -> dict[str, Any]:
        """Return what is quick to know, as JSON: the version that the page would have, counts, trials at work."""
        with self._looking:
            if self._state is None or time.monotonic() - self._state[0] >= 1.0:
                self._state = time.monotonic(), self._look()
            return self._state[1]

    def card(self) -> dict[str, Any]:
        """Return what stands of the study beside others: `state`, its name, question, verdict and best candidates."""
        self.content()
        return {**self.state(), "name": self.name, **self._card}

    def picture(self, trial: str) -> bytes | None:
        """Return the newest samples of a trial at work, as a PNG; None where there are none, or no such trial."""
        if trial not in self._names_of_trials():
            return None
        kept = previews.read(self.folder / "trials" / trial)
        if not kept:
            return None
        from ablate.results.page.pictures import png
        from ablate.results.tracked import picture

        return png(picture(kept[max(kept)]))

    def _look(self) -> dict[str, Any]:
        trials = self._names_of_trials()
        states = Counter(_state_of(self.folder / "trials" / trial) for trial in trials)
        open_ = [t for t in trials if _state_of(self.folder / "trials" / t) == "open"]
        at_work = signs.driven(self.folder)
        lock = _json(self.folder / "lock.json")
        names = Names.read(lock) or Names()
        shown: list[dict[str, Any]] = []
        running = 0
        for trial in open_:
            sign = signs.unfinished(self.folder, trial, at_work)
            running += sign.state == "running"
            if sign.state == "running" and len(shown) < OPEN and (seen := observed(self._of(trial), names)) is not None:
                shown.append(_at_work(self._of(trial), seen, sign))
        if states.pop("open", 0):
            states["at work"], states["waiting" if at_work else "interrupted"] = running, len(open_) - running
        more = running - len(shown)
        with_results = sum(states[s] for s in ("complete", "diverged", "failed"))
        asked = lock.get("planned")
        over = ended_count(self.folder)
        planned = over if over == len(trials) else asked if isinstance(asked, int) and asked >= len(trials) else None
        doing = "At work" if at_work else "Complete" if over == len(trials) else "Nobody is at work here"
        return {
            "version": _fingerprint(self.folder) if time.monotonic() >= self._due else self._version,
            "doing": doing,
            "states": {name: n for name, n in sorted(states.items()) if n},
            "planned": planned,
            "done": with_results,
            "trials": shown,
            "note": f"{more} more trials are at work." if more > 0 else "",
        }

    def _names_of_trials(self) -> list[str]:
        try:
            with os.scandir(self.folder / "trials") as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except OSError:
            return []

    def _of(self, trial: str) -> Path:
        return self.folder / "trials" / trial


def ended_count(folder: Path) -> int:
    """Return of how many trials the study is complete; -1 where it is not."""
    found = _json(folder / "ended.json").get("trials")
    return found if isinstance(found, int) else -1


def _state_of(trial: Path) -> str:
    if (trial / records.RECORD).is_file():
        return str(_json(trial / records.RECORD).get("state", "complete"))
    if (trial / "failure.json").is_file():
        return "failed"
    return "paused" if (trial / records.PAUSE).is_file() else "open"


def _fingerprint(folder: Path) -> str:
    """Return a text that changes when results come: files of trials, without what the trials at work tell."""
    found = hashlib.sha256()
    for name in ("lock.json", "study.yaml", "launches.jsonl", "ended.json", "trials.parquet"):
        found.update(f"{name}{_stamp(folder / name)}".encode())
    try:
        with os.scandir(folder / "trials") as entries:
            trials = sorted(entry.path for entry in entries)
    except OSError:
        trials = []
    for trial in trials:
        for name in SIGNS:
            found.update(f"{trial}{name}{_stamp(Path(trial, name))}".encode())
    return found.hexdigest()[:16]


def _stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "-"
    return f"{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"


def _at_work(folder: Path, seen: Observed, sign: signs.Unfinished) -> dict[str, Any]:
    curve = [(images, values["loss"]) for images, values, _ in seen.points if "loss" in values]
    kept = previews.read(folder)
    measured = [
        (images, label(name, 60), value)
        for images, values, _ in seen.points
        for name, value in values.items()
        if "loss" not in values
    ]
    return {
        "trial": seen.trial.trial,
        "name": seen.trial.candidate,
        "seed": seen.trial.seed,
        "doing": {"train": "training", "measure": "measuring"}.get(sign.phase or "", "starting"),
        "images": sign.images,
        "total": sign.total,
        "loss": sign.loss,
        "speed": sign.images_per_second,
        "age": sign.age_seconds,
        "curve": curve[:: max(1, -(-len(curve) // POINTS))],
        "points": measured[-6:],
        "pictured": max(kept) if kept else None,
    }


def _card(results: Results) -> dict[str, Any]:
    """Return what a card shows beside the state: the question, the verdict, the best candidates with their values."""
    from ablate.results.numbers import plus_minus
    from ablate.results.tables import grouped
    from ablate.results.verdict import verdict

    numbers, quality = grouped(results), results.quality
    rows = []
    for row in numbers.head(BEST).to_dict("records"):
        column = None if quality is None else quality.column
        mean = math.nan if column is None else float(row.get(column, math.nan))
        if math.isfinite(mean):
            value = plus_minus(mean, float(row.get(f"{column}.sd", math.nan)))
            rows.append([label(row["candidate"], 80), value, bool(row["on_front"])])
    return {
        "question": message(results.study.get("question") or ""),
        "verdict": message(verdict(results)),
        "quality": "" if quality is None else label(quality.column),
        "best": rows,
    }


def _problem(name: str, why: str) -> Parts:
    header = environment_of_pages().from_string(text_of("header.html.j2"))
    words = {"question": "", "verdict": "No result yet.", "warnings": [why], "parts": []}
    table = '<table id="table" hidden><thead><tr><th>id</th></tr></thead><tbody></tbody></table>'
    controls = '<form hidden id="filter-form"><input id="filter"><select id="sort-by"></select><span id="filter-count">'
    empty: dict[str, Any] = {
        "candidates": [],
        "measures": {},
        "axes": None,
        "effects": None,
        "during": None,
        "losses": None,
        "probes": [],
    }
    return Parts(header.render(name=name, **words), f"{controls}</span></form>{table}", json.dumps(empty))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
