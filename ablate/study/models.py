"""Known networks: files of `studies/models/`, `base:`-shaped with their shape and classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.candidates.candidate import Candidate, compose, cost_of, misfits
from ablate.discovery.catalog import catalog
from ablate.errors import InputError, SpecError
from ablate.runtime.isolation import isolated
from ablate.spec.component import InputSpec
from ablate.study.recipes import MODEL, overridden, parts, read_model
from ablate.study.yaml import read

if TYPE_CHECKING:
    from torch import nn

    from ablate.study.candidate_cost import CandidateCost


def cost(
    candidate: str | Path | Mapping[str, Any],
    shape: tuple[int, int, int] | None,
    classes: int | None,
    plugins: tuple[str, ...] = (),
) -> CandidateCost:
    """Return the cost of a candidate; see `ablate.cost`. Raises InputError for what cannot be composed or built."""
    from ablate.study.candidate_cost import CandidateCost

    network, setting = composed(candidate, shape, classes, plugins)
    return CandidateCost.of(network, setting)


def build(
    candidate: str | Path | Mapping[str, Any],
    shape: tuple[int, int, int] | None,
    classes: int | None,
    plugins: tuple[str, ...],
    seed: int,
) -> nn.Module:
    """Build the network of a candidate; see `ablate.build`. Raises InputError for what cannot be composed or built."""
    network, setting = composed(candidate, shape, classes, plugins)
    cost_of(network.backbone, setting)  # what cannot be built, or fits into no machine, is reported in one message

    import torch

    from ablate.training.building import new_network

    with isolated():
        return new_network(network, setting, seed, torch.device("cpu"))


def composed(
    candidate: str | Path | Mapping[str, Any],
    shape: tuple[int, int, int] | None,
    classes: int | None,
    plugins: tuple[str, ...],
) -> tuple[Candidate, InputSpec]:
    """Return a candidate with what its network is given. Raises InputError for what a study would refuse."""
    where = None
    if isinstance(candidate, str | Path):
        where = str(candidate)
        file = Path(candidate)
        named = not file.suffix and not file.exists()
        candidate = read_model(str(candidate), Path(), where).data if named else read(file).data
    spec = dict(candidate)
    if isinstance(spec.get(MODEL), str):
        model = read_model(spec.pop(MODEL), Path(), where).data
        spec = {**{key: model[key] for key in ("shape", "classes") if key in model}, **overridden(parts(model), spec)}
    own_shape, own_classes = spec.pop("shape", None), spec.pop("classes", None)
    spec = dict(spec.get("base", spec))
    sizes = shape or own_shape
    if sizes is None or len(sizes) != 3:
        raise InputError("which shape? Give shape=(channels, height, width)", where)
    channels, height, width = map(int, sizes)
    setting = InputSpec((channels, height, width), classes if classes is not None else own_classes)
    network = compose(spec, catalog(plugins))
    problems = misfits(network, None, setting, provided={"labels"} if setting.classes else ())
    if own_shape is not None:  # a known network: what its training or its data would bring is not in its file
        needs = {f"needs {capability!r}" for capability in network.backbone.requires()}
        problems = [p for p in problems if p.path != ("backbone",) or not any(need in p.message for need in needs)]
    if problems:
        raise SpecError(problems, where)
    return network, network.inputs(setting)
