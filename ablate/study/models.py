"""Known networks: files of `studies/models/`, `base:`-shaped with their shape and classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.candidate import compose, cost_of
from ablate.component import Setting
from ablate.errors import InputError, Problem, SpecError
from ablate.registry import catalog
from ablate.study.yaml import Document, read

if TYPE_CHECKING:
    from ablate.flops import Cost


def is_model(document: Document) -> bool:
    """Whether a file is a known network, not a study: it says its shape, which a study has from its data."""
    return "shape" in document.data and not {"study", "data"} & document.data.keys()


def cost(
    candidate: str | Path | Mapping[str, Any],
    shape: tuple[int, int, int] | None,
    classes: int | None,
    plugins: tuple[str, ...] = (),
) -> Cost:
    """What `ablate.cost` gives. Raises InputError for what cannot be composed or built."""
    where = None
    if isinstance(candidate, str | Path):
        where = str(candidate)
        candidate = read(Path(candidate)).data
    spec = dict(candidate)
    own_shape, own_classes = spec.pop("shape", None), spec.pop("classes", None)
    spec.pop("model", None)
    spec = dict(spec.get("base", spec))
    wanted = shape or own_shape
    if wanted is None or len(wanted) != 3:
        raise InputError("which shape? Give shape=(channels, height, width)", where)
    setting = Setting((int(wanted[0]), int(wanted[1]), int(wanted[2])), classes if classes is not None else own_classes)
    made = compose(spec, catalog(plugins))
    reasons = [
        Problem(path, reason) for path, part in made.backbone.parts(("backbone",)) if (reason := part.refuse(setting))
    ]
    if reasons:
        raise SpecError(reasons, where)
    return cost_of(made.backbone, setting)
