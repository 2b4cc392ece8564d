"""Warnings about settings without effect: never reached, never read, or left out of the search space."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ablate.candidates.candidate import Candidate
from ablate.errors import InputError, SpecError
from ablate.kinds.design import Assignment
from ablate.kinds.noised import Level
from ablate.spec.component import Component, Config, Course, When, is_component
from ablate.spec.slots import fill, slot_kind
from ablate.study.device import assignments
from ablate.study.loaded import LoadedStudy
from ablate.study.override import applied
from ablate.study.schema import Study

MOST = 12  # warnings; a study that draws more has one reason for most of them
WIDE = 160  # letters of a reason


def ineffective_settings(loaded: LoadedStudy) -> list[str]:
    """Return a warning for each setting that has no effect, and for each reason to leave something out of `all`."""
    pairs = list(_candidates(loaded))
    candidates = [candidate for _, candidate in pairs]
    lines = dict.fromkeys(
        [
            *left_out(loaded.space.left_out),
            *_ranges(loaded),
            *_few_samples(loaded),
            *_profiles(loaded),
            *(
                line
                for candidate in {(c.guidance, c.solver, c.schedule): c for c in candidates}.values()
                for line in _unguided(candidate.for_setting(loaded.trial_settings.setting))
            ),
            *(line for candidate in candidates for line in _idle(loaded, candidate)),
            *_unread(loaded, candidates),
            *_passed_over(loaded, candidates),
            *_without_effect(loaded, pairs),
        ]
    )
    warnings = list(lines)
    if len(warnings) <= MOST:
        return warnings
    return [*warnings[:MOST], f"and {len(warnings) - MOST} more settings like these"]


def _candidates(loaded: LoadedStudy) -> Iterator[tuple[Assignment, Candidate]]:
    for assignment in assignments(loaded):
        try:
            yield assignment, loaded.candidate(assignment)
        except SpecError:  # a choice that works beside others alone
            continue


def left_out(reasons: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield a line for each reason why `all` leaves out components.

    reasons: {path of `vary`: {name: reason}}, as a space or a folder's lock has it.
    """
    for path, reasons_by_name in reasons.items():
        names: dict[str, list[str]] = defaultdict(list)
        for name, reason in reasons_by_name.items():
            plain = reason.removeprefix(f"{path}: ").replace(f"{name!r} ", "")
            names[plain if len(plain) <= WIDE else f"{plain[: WIDE - 3]}..."].append(name)
        for reason, same_reason in names.items():
            yield f"vary.{path}: all leaves out {', '.join(same_reason)}: {reason}"


def _ranges(loaded: LoadedStudy) -> Iterator[str]:
    """Warn about ranges whose steps end before they do."""
    for d in loaded.space.dimensions:
        value = loaded.study.vary.get(d.path)
        high = value.get("high") if isinstance(value, dict) and "type" not in value else None
        if high is not None and d.high is not None and d.high < high:
            yield f"vary.{d.path}: steps of {d.step:g} from {d.low:g} do not reach {high:g}; it ends at {d.high:g}"


def _few_samples(loaded: LoadedStudy) -> Iterator[str]:
    """Warn about fewer samples than class numbers, some of which may have no pictures."""
    classes, samples = loaded.trial_settings.setting.classes, loaded.trial_settings.evaluation.samples
    if classes is not None and samples < classes and loaded.trial_settings.evaluation.metrics:
        yield f"evaluate.samples: {samples} samples of {classes} class numbers: a class may get none"


def _idle(loaded: LoadedStudy, candidate: Candidate) -> Iterator[str]:
    """Warn about what components say of themselves, and about a budget that is shorter than a step."""
    settings, study = loaded.trial_settings, loaded.study
    budget, batch = settings.budget, candidate.batch
    gflops = 1.0
    if budget.train_gflops is not None:
        try:
            gflops = settings.cost(candidate).trained_gflops
        except Exception:  # noqa: BLE001 - a network that cannot be built is reported elsewhere
            return
        if budget.train_gflops < 3 * gflops * batch:
            yield f"budget: {budget.train_gflops:g} Gflops are less than a step of {batch} images; one step is trained"
    if budget.images is not None and budget.images < batch:
        yield f"budget: {budget.images} images are less than a step; one step of {batch} is trained"
    course = Course(settings.setting, batch, budget.images_for(batch, gflops), settings.evaluation.samples)
    configs: list[Config] = [candidate, study.data, study.evaluate, *study.probes]
    for part in (part for config in configs for _, part in config.parts()):
        for sentence in part.idle(course):
            yield f"{_describe(part)}: {sentence}"


def _unguided(candidate: Candidate) -> Iterator[str]:
    """Warn about a guidance between levels that no step of the solver reaches."""
    import torch

    guidance, solver = candidate.guidance, candidate.solver
    with contextlib.suppress(Exception):  # a plugin's own code: its trials report what is wrong with it
        points = solver.points(candidate.schedule)[:-1]
        levels = [Level(*(torch.tensor(value, dtype=torch.float64) for value in point)) for point in points]
        if levels and not any(guidance.guides(level) for level in levels):
            steps = f"none of the {len(levels)} steps of solver {solver.name!r} on schedule {candidate.schedule.name!r}"
            yield f"{_describe(guidance)}: {steps} lies within its interval, so it never guides"


def _profiles(loaded: LoadedStudy) -> Iterator[str]:
    """Warn about profiles that are not used here, and would be refused."""
    for name in loaded.study.profiles:
        try:
            fill(Study, applied(loaded.document, name, ()).data, loaded.catalog)
        except InputError as error:
            yield f"profiles.{name}: would be refused: {error.message}"


def _unread(loaded: LoadedStudy, candidates: Sequence[Candidate]) -> Iterator[str]:
    """Warn about fields that were given and that no candidate reads, because of others (`When`, `unread_fields`)."""
    study = loaded.study
    unread: dict[tuple[str, str], str] = {}
    read: set[tuple[str, str]] = set()
    for config in (*candidates, study.data, study.evaluate, study.design, study.fidelity, study.seeding, *study.probes):
        for _, part in config.parts():
            for field in part.model_fields_set:
                key, reason = (_describe(part), field), _why_unread(part, field)
                if reason is None:
                    read.add(key)
                else:
                    unread[key] = reason
    for (component, field), reason in unread.items():
        if (component, field) not in read:
            yield f"{component}: {field!r} is given and not read, since {reason}"


def _why_unread(part: Component, field: str) -> str | None:
    info = type(part).model_fields[field]
    whens = [meta for meta in info.metadata if isinstance(meta, When)] if slot_kind(info) is None else []
    wrong = next((when for when in whens if not when.allows(getattr(part, when.field))), None)
    if wrong is None:
        return part.unread_fields().get(field)
    decides = getattr(part, wrong.field)
    return f"{wrong.field!r} is {decides.name if isinstance(decides, Component) else decides!r}"


def _passed_over(loaded: LoadedStudy, candidates: Sequence[Candidate]) -> Iterator[str]:
    """Warn about paths of `vary` below fields that no candidate's objective reads."""
    for d in loaded.space.dimensions:
        field = d.path.partition(".")[0]
        if candidates and all(field in candidate.objective.unread for candidate in candidates):
            names = " or ".join(dict.fromkeys(repr(candidate.objective.name) for candidate in candidates))
            yield f"vary.{d.path}: objective {names} does not read {field!r}: its candidates are trained alike"


def _without_effect(loaded: LoadedStudy, pairs: Sequence[tuple[Assignment, Candidate]]) -> Iterator[str]:
    """Warn about paths of `vary` under which all candidates are one and the same."""
    hashes = [(dict(assignment), loaded.trial_settings.digest(candidate)) for assignment, candidate in pairs]
    for d in loaded.space.dimensions:
        groups: dict[frozenset[tuple[str, str]], list[str]] = defaultdict(list)
        for assignment, candidate_hash in hashes:
            if d.path in assignment:
                others = frozenset((path, repr(label)) for path, label in assignment.items() if path != d.path)
                groups[others].append(candidate_hash)
        several = [group for group in groups.values() if len(group) > 1]
        if several and all(len(set(group)) == 1 for group in several):
            yield f"vary.{d.path}: changes nothing that decides a result: its candidates are one and the same"


def _describe(part: Component) -> str:
    return f"{part.kind} {part.name!r}" if is_component(type(part)) else part.kind
