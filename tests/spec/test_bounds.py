"""Every number that a user can give has a bound, and what lies beyond it is one message."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import annotated_types as limits
import pytest
from pydantic.fields import FieldInfo

import ablate
from ablate.candidates.candidate import Candidate, cost_of
from ablate.candidates.evaluation import Evaluation
from ablate.candidates.trial import Budget
from ablate.errors import InputError
from ablate.spec.component import Config, InputSpec
from ablate.study.compute_match import Match
from ablate.study.load import load_study
from ablate.study.schema import Study

PLAIN: list[tuple[str, type[Config]]] = [(cls.__name__, cls) for cls in (Candidate, Budget, Evaluation, Study, Match)]
COMPONENTS = [
    (f"{kind}/{entry.name}", entry.cls) for kind in ablate.catalog().kinds() for entry in ablate.catalog().entries(kind)
]
CHECKED = {("Match", "gflops")}  # bounded by a check of its own: it may also be a word


def numbers(annotation: Any, metadata: list[Any]) -> Iterator[list[Any]]:
    """The metadata that lies on each number of an annotation: of itself, of a union's parts, of a tuple's items."""
    if annotation in (int, float):
        yield metadata
    elif get_origin(annotation) is not None and hasattr(annotation, "__metadata__"):
        inner, *rest = get_args(annotation)
        flat = [m for one in rest for m in (one.metadata if isinstance(one, FieldInfo) else [one])]
        yield from numbers(inner, [*metadata, *flat])
    else:
        items = [] if get_origin(annotation) is tuple else metadata  # a tuple's own bounds are of its length
        for part in get_args(annotation):
            yield from numbers(part, items)


@pytest.mark.parametrize(("name", "cls"), [*PLAIN, *COMPONENTS], ids=[name for name, _ in (*PLAIN, *COMPONENTS)])
def test_every_number_has_a_least_and_a_largest_value(name: str, cls: type[Config]) -> None:
    for field, info in cls.model_fields.items():
        for metadata in numbers(info.annotation, info.metadata):
            low = any(isinstance(m, limits.Ge | limits.Gt) for m in metadata)
            high = any(isinstance(m, limits.Le | limits.Lt) for m in metadata)
            assert (low and high) or (name, field) in CHECKED, f"{name}.{field} takes numbers without bound"


STUDY: dict[str, Any] = {
    "study": "bounded",
    "data": "digits",
    "base": {
        "backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 32, "heads": 2},
        "guidance": "none",
        "batch": 16,
    },
    "vary": {"backbone.width": [32, 64]},
    "budget": {"images": 512},
    "evaluate": {"samples": 20, "previews": 0},
    "objectives": ["loss"],
}


@pytest.mark.parametrize(
    "value",
    [
        "base.backbone.width=18446744073709551616",
        "base.backbone.width=-18446744073709551616",
        "base.backbone={type: unet, width: 4294967296}",
        "base.backbone={type: unet, multipliers: [1, 99999999999999999999]}",
        "base.optimizer.lr=1" + "0" * 400,
        "base.optimizer.lr=.inf",
        "base.sigma_data=.nan",
        "base.batch=9223372036854775807",
        "budget.images=9223372036854775808",
        "budget={steps: 1" + "0" * 23 + "}",
        "budget={train_gflops: 1e300}",
        "budget={minutes: .inf}",
        "evaluate.samples=1" + "0" * 18,
        "design={type: one_factor, seeds: 99999999999999999999}",
        "design={type: search, trials: 1" + "0" * 30 + "}",
        "executor={type: local, workers: 1" + "0" * 30 + "}",
        "seed=1" + "0" * 30,
        "match={gflops: 1" + "0" * 400 + ", by: backbone.width}",
        "vary.backbone.width=[32, 18446744073709551616]",
        "vary.optimizer.lr={low: 1e-4, high: 1" + "0" * 400 + "}",
        "vary.optimizer.lr={low: 1e-4, high: .inf}",
        "vary.backbone.width={low: 32, high: 64, step: .inf}",
        "vary.backbone.width={low: 32, high: 1" + "0" * 30 + "}",
        "study=" + "a" * 100_000,
        "question=" + "a" * 100_000,
    ],
    ids=lambda value: value[:60],
)
def test_a_number_or_a_word_beyond_all_bounds_is_one_short_message(value: str) -> None:
    with pytest.raises(InputError) as caught:
        load_study(STUDY, overrides=[value])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_grid_is_counted_before_it_is_listed() -> None:
    vary = {
        "optimizer.lr": [1e-5 * (i + 1) for i in range(1000)],
        "optimizer.weight_decay": [1e-5 * (i + 1) for i in range(1000)],
        "guidance": ["none"],
        "clip.max_norm": [1e-3 * (i + 1) for i in range(1000)],
    }
    base = {**STUDY["base"], "clip": "global_norm"}
    with pytest.raises(InputError, match="design: design 'grid' comes to 1,000,000,000 candidates, of at most 20,000"):
        load_study({**STUDY, "base": base, "vary": vary, "design": "grid"})


def test_a_study_that_holds_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["vary"] = {"a": endless}
    with pytest.raises(InputError, match="nested too deeply"):
        load_study({**STUDY, "profiles": endless})


@pytest.mark.parametrize(
    ("budget", "gflops"), [({"steps": 10**9}, 1.0), ({"train_gflops": 1e15}, 1e-9), ({"train_gflops": 1.0}, 0.0)]
)
def test_a_budget_that_comes_to_more_images_than_there_are_is_refused(budget: dict[str, Any], gflops: float) -> None:
    with pytest.raises(InputError, match="images with"):
        Budget(**budget).images_for(10_000, gflops)


UNBOUNDED = """
from ablate.api import Backbone


class Wide(Backbone):
    \"\"\"A layer whose author thought of no bound.\"\"\"

    name = "wide"
    width: int = 4

    def build(self, setting):
        from torch import nn

        if self.width < 0:
            raise ValueError("less than\\nnothing")
        return nn.Linear(self.width, self.width)
"""


@pytest.mark.parametrize(
    ("width", "message"),
    [
        (10**9, "has 1e\\+18 parameters"),
        (2**62, "cannot be built: RuntimeError: .*wide.py:16"),
        (-1, "cannot be built: ValueError: less than nothing .*wide.py:15"),
    ],
)
def test_a_network_that_no_machine_holds_is_refused_whoever_wrote_it(tmp_path: Path, width: int, message: str) -> None:
    (tmp_path / "wide.py").write_text(UNBOUNDED)
    backbone = ablate.catalog([str(tmp_path / "wide.py")]).get("backbone", "wide")(width=width)
    with pytest.raises(InputError, match=f"backbone 'wide' {message}"):
        cost_of(backbone, InputSpec((1, 8, 8), None))  # type: ignore[arg-type]


def test_no_bound_is_infinite() -> None:
    for _, cls in (*PLAIN, *COMPONENTS):
        for info in cls.model_fields.values():
            for meta in (m for metadata in numbers(info.annotation, info.metadata) for m in metadata):
                for word in ("ge", "gt", "le", "lt"):
                    assert math.isfinite(getattr(meta, word, 0))
