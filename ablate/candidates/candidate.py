"""The configuration of a diffusion model: a tree of components that together can be trained and sampled from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ablate.candidates import elsewhere
from ablate.candidates.told import misnamed, unread
from ablate.discovery.catalog import Catalog
from ablate.errors import InputError, Path, Problem, SpecError
from ablate.kinds.adapter import Adapter
from ablate.kinds.augmentation import Augmentation
from ablate.kinds.auxiliary import Auxiliary
from ablate.kinds.backbone import Backbone, network_blocks
from ablate.kinds.clip import Clip
from ablate.kinds.conditions import told_on_meta
from ablate.kinds.coupling import Coupling
from ablate.kinds.data import Data
from ablate.kinds.ema import Ema
from ablate.kinds.features import Features
from ablate.kinds.fitted import Fitted
from ablate.kinds.guidance import Drops, Guidance
from ablate.kinds.guides import Sibling, WeakerGuidance
from ablate.kinds.levels import Levels
from ablate.kinds.loss import Loss
from ablate.kinds.objective import Host, Objective
from ablate.kinds.optimizer import Optimizer
from ablate.kinds.precision import Precision
from ablate.kinds.precondition import Precondition
from ablate.kinds.process import Process
from ablate.kinds.routing import ROUTED
from ablate.kinds.schedule import Schedule
from ablate.kinds.solver import Solver
from ablate.kinds.start import Start, as_start
from ablate.kinds.target import Target
from ablate.kinds.teacher import TaughtObjective, TeacherTrial
from ablate.kinds.weighting import Weighting
from ablate.runtime.isolation import GlobalStateError, isolated
from ablate.spec.component import Added, Choice, Component, Config, Extent, InputSpec, slot
from ablate.spec.explain import exception_summary
from ablate.spec.slots import SlotFiller, fill

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from ablate.candidates.flops import Cost


CAPTURED = "captured_step"  # the capability of a step that is replayed: who must not be captured excludes it
SHARDED = "sharded_weights"  # of weights that lie in shards over several devices: who needs them whole excludes it
MOST_PARAMS = 10**12
PIXELS = 0.5  # root mean square of pixels in [-1, 1], about: of data that nobody has read yet
META = (
    "; networks are counted on torch's meta device, which has no numbers and no autocast: name no device, "
    "read no values, and leave the number format to the study's `precision`"
)


class BuildError(InputError):
    """A candidate whose fields are in order cannot be built; the cause is the plugin's own exception."""


class Candidate(Config):
    """The typed configuration of one candidate, `base:` in a study: network, process, training, solver."""

    backbone: Backbone = slot()
    schedule: Schedule = slot()
    levels: Levels = slot()
    target: Target = slot()
    precondition: Precondition = slot()
    weighting: Weighting = slot()
    loss: Loss = slot()
    objective: Annotated[Objective, Added({"type": "denoise"})] = slot()
    auxiliary: Annotated[tuple[Auxiliary, ...], Added([])] = ()  # weighted terms that are added to the objective
    coupling: Annotated[Coupling, Added({"type": "independent"})] = slot()
    augmentation: Annotated[Augmentation, Added({"type": "none"})] = slot()
    optimizer: Optimizer = slot()
    clip: Clip = slot()
    ema: Ema = slot()
    precision: Precision = slot()
    solver: Solver = slot()
    guidance: Guidance = slot()
    start: Annotated[Start, BeforeValidator(as_start), Added({"of": "scratch"})] = Field(
        "scratch", validate_default=True
    )
    """weights that training begins with: scratch, baseline (of this study), {trial: …}, {file: …}"""
    adapter: Annotated[Adapter, Added({"type": "none"})] = slot()  # what of them is trained on
    batch: Annotated[int, Field(ge=1, le=1_000_000), Choice(64, 128, 256)] = 128  # images a training step
    # How a step fits into memory (gradient accumulation, activation checkpointing); what comes of it is the same up to
    # rounding and dropout's draws.
    micro: Annotated[int | None, Field(ge=1, le=1_000_000), Extent()] = (
        None  # images a forward pass (gradient accumulation)
    )
    recompute: Annotated[bool, Extent()] = False  # activation checkpointing: blocks are computed again, not kept
    compile: Annotated[Literal["none", "default", "max-autotune"], Extent()] = "none"  # the network, by torch.compile
    layout: Annotated[Literal["contiguous", "channels_last", "fsdp"], Extent()] = (
        "contiguous"  # of weights: convolutions in memory; fsdp: shards over `devices`
    )
    capture: Annotated[Literal["none", "auto"], Extent()] = "none"  # the training step, as a CUDA graph
    devices: Annotated[int, Field(ge=1, le=64), Extent()] = 1  # GPUs, on the CPU processes, that share a training step
    sigma_data: Annotated[float | None, Field(gt=0, le=100)] = (
        None  # root mean square of the data in [-1, 1]; None: measured
    )

    @property
    def is_sharded(self) -> bool:
        """Whether the weights lie in shards over its devices (FSDP)."""
        return self.layout == "fsdp"

    @model_validator(mode="after")
    def _micro_divides(self) -> Self:
        if self.micro is not None and self.batch % self.micro:
            fits = [size for size in range(1, self.batch + 1) if self.batch % size == 0]
            near = min(fits, key=lambda size: abs(size - (self.micro or 1)))
            raise ValueError(
                f"micro {self.micro} does not divide the batch of {self.batch}; the nearest that does: {near}"
            )
        return self

    @model_validator(mode="after")
    def _compiles_what_is_kept(self) -> Self:
        if self.recompute and self.compile != "none":
            raise ValueError(
                f"compile: {self.compile} does not go with recompute: true, which calls every block by itself; leave "
                "one of them out"
            )
        return self

    @model_validator(mode="after")
    def _devices_share_a_batch(self) -> Self:
        if self.devices > self.batch:
            raise ValueError(
                f"devices: {self.devices} cannot share a batch of {self.batch}: each takes an image at least"
            )
        whole = self.needs_whole_batches()
        if self.devices > 1 and whole is not None:
            raise ValueError(
                f"devices: {self.devices} cuts the batch of {self.batch} into parts, and {whole} compares the images "
                "of a whole batch; leave devices out"
            )
        return self

    @model_validator(mode="after")
    def _shards_go_together(self) -> Self:
        if not self.is_sharded:
            return self
        if self.devices == 1:
            raise ValueError("layout: fsdp shards weights over several devices, and devices is 1: say how many")
        if self.batch % self.devices:
            fits = [size for size in range(2, self.batch + 1) if self.batch % size == 0]
            near = min(fits, key=lambda size: abs(size - self.devices))
            raise ValueError(
                f"layout: fsdp takes every pass on all devices at once, and devices: {self.devices} does not divide "
                f"the batch of {self.batch}; the nearest that does: {near}"
            )
        if (why := self._unsharded()) is not None:
            raise ValueError(f"layout: fsdp does not go with {why}")
        return self

    def _unsharded(self) -> str | None:
        """Return which option or component of it needs the network's weights whole, and why; None if none does."""
        other = "leave one of them out"
        if self.compile != "none":
            return f"compile: {self.compile}, which makes code for whole weights; {other}"
        if not self.objective.one_pass:
            return f"objective {self.objective.name!r}, which takes more than one pass of the network; {other}"
        for _, part in self.parts():
            if (why := part.excludes().get(SHARDED)) is not None:
                return f"{part.kind} {part.name!r}: {why}"
        return None

    def for_setting(self, setting: InputSpec) -> Self:
        """Return the candidate for such data: what its schedule, levels and weighting take from them is written out.

        For computing; the identity is that of the candidate itself.
        """
        parts: dict[str, Fitted] = {"schedule": self.schedule, "levels": self.levels, "weighting": self.weighting}
        fitted = {field: part.for_setting(setting) for field, part in parts.items()}
        changed = {field: part for field, part in fitted.items() if part is not parts[field]}
        return self.model_copy(update=changed) if changed else self

    def inputs(self, setting: InputSpec) -> InputSpec:
        """Return what its network is given: the data's shape and conditions, and what its own parts tell beside."""
        own = (*self.augmentation.conditions(setting), *self.objective.conditions(setting))
        known = {spec.name for spec in setting.conditions}
        further = tuple(spec for spec in own if spec.name not in known)
        return replace(setting, conditions=(*setting.conditions, *further)) if further else setting

    @model_validator(mode="after")
    def _micro_keeps_batches_whole(self) -> Self:
        whole = self.needs_whole_batches()
        if whole is not None and self.micro is not None and self.micro < self.batch:
            raise ValueError(
                f"micro {self.micro} cuts the batch of {self.batch} into parts, and {whole} compares the images of a "
                "whole batch; leave micro out, and give a smaller batch, or recompute: true, where memory is short"
            )
        return self

    def needs_whole_batches(self) -> str | None:
        """Return which part of it couples the images of a batch, such as `auxiliary 'dispersive'`; None if none does.

        Then gradient accumulation would train something else, and is refused.
        """
        parts: tuple[Objective | Auxiliary, ...] = (self.objective, *self.auxiliary)
        return next((f"{part.kind} {part.name!r}" for part in parts if part.couples()), None)

    def pass_images(self, micro: int | None = None) -> int:
        """Return the images of a forward pass: a device's share of the batch, cut by `micro` (None: its own)."""
        share = -(-self.batch // self.devices)
        return min(micro or self.micro or share, share)

    def drops(self) -> Drops:
        """Return how often training leaves out labels and conditions, for guidance or for the objective."""
        drops, rate = self.guidance.drops(), self.objective.drop_rate()
        return drops if rate <= drops.together else Drops(rate, drops.each)

    def process(self, measured: float, uncertainty: Callable[[Tensor], Tensor] | None = None) -> Process:
        """Build the diffusion process of this candidate, for data of that root mean square unless it gives its own.

        `uncertainty` is what the weighting built to be trained, if it builds something.
        """
        sigma_data = measured if self.sigma_data is None else self.sigma_data
        parts = (self.schedule, self.target, self.precondition, self.weighting)
        offers = self.objective.provides()
        return Process(*parts, sigma_data, uncertainty, "flow_map" in offers, "self_conditioning" in offers)

    def sibling(self, setting: InputSpec) -> Sibling | None:
        """Return the smaller network that guidance trains beside this one; None if it trains none.

        Raises InputError where there is no such network.
        """
        return self.guidance.sibling(self.backbone, setting) if isinstance(self.guidance, WeakerGuidance) else None

    def of_sibling(self, sibling: Sibling) -> Self:
        """Return how the sibling is trained: as the candidate is, but for its size."""
        return self.model_copy(update={"backbone": sibling.backbone})

    @property
    def one_pass(self) -> bool:
        """Whether a step of training is one pass of the network, and nothing else that costs."""
        return self.objective.one_pass and not self.auxiliary

    @property
    def jumps(self) -> bool:
        """Whether its network is trained to lead over a long way at once.

        Then what a solver does with a denoiser (`ablate.evaluation.solver_bias`) says nothing of its samples.
        """
        return not self.objective.provides().isdisjoint({"flow_map", "consistency", "distilled"})

    def teacher(self, catalog: Catalog) -> Candidate | TeacherTrial | None:
        """Return who its objective learns from: a candidate of the same study, or a trial of another one.

        None where it has no teacher.
        """
        if not isinstance(self.objective, TaughtObjective):
            return None
        taught_by = self.objective.teacher()
        if isinstance(taught_by, TeacherTrial):
            return taught_by
        objective = taught_by or catalog.create(Objective, catalog.default("objective"))
        return self.model_copy(update={"objective": objective})


def compose(spec: Mapping[str, Any], catalog: Catalog, path: Path = (), filler: SlotFiller | None = None) -> Candidate:
    """Parse a spec into a candidate, with all slots filled. Raises SpecError with every problem and its path.

    filler: of the catalog, which may remember the components of other candidates.
    """
    if not isinstance(spec, Mapping):
        raise SpecError([Problem(path, f"expected a mapping with at least 'backbone', not {spec!r}")])
    return fill(Candidate, spec, catalog, path, filler)


def misfits(
    candidate: Candidate,
    data: Data | None,
    setting: InputSpec,
    path: Path = (),
    provided: Iterable[str] = (),
    withheld: Mapping[str, str] | None = None,
) -> list[Problem]:
    """Return why these components are incompatible with each other or with the data; empty if they are not.

    Decided by what the components say that they provide, require and exclude, never by name.
    provided: what else there is, where no data are named. withheld: {capability: why it is not to be had here}.
    """
    parts = list(candidate.parts(path))
    problems = list(misnamed((candidate.augmentation, candidate.objective), setting, path))
    setting = candidate.inputs(setting)
    provided = frozenset(provided).union(*(part.provides() for _, part in parts), data.provides() if data else ())
    provided |= {spec.name for spec in setting.conditions}
    if "labels" in provided or not all(spec.held for spec in setting.conditions):
        provided |= {"conditions"}
    if "latents" not in provided:
        provided |= {"pictures"}  # the images themselves
    if candidate.start.of not in ("scratch", "parent"):
        provided |= {"trained_start"} if candidate.start.of == "file" else {"trained_start", "start_network"}
    for at, part in parts:
        me = f"{part.kind} {part.name!r}"
        for capability, why in part.requires().items():
            if withheld and capability in withheld:
                problems.append(Problem(at, f"{me} needs {capability!r}: {withheld[capability]}"))
            elif capability not in provided:
                problems.append(Problem(at, f"{me} needs {capability!r}, which nothing here provides: {why}"))
        for capability, why in part.excludes().items():
            if capability in provided:
                problems.append(Problem(at, f"{me} does not go with {capability!r}: {why}"))
        seen: InputSpec | None = setting
        if isinstance(part, Features):  # it sees pictures, whatever the network sees
            seen = None if "pictures" not in provided else setting if data is None else data.pictures_setting()
        reason = None if seen is None else part.refuse(seen)
        if reason is not None:
            problems.append(Problem(at, f"{me}: {reason}"))
    problems += unread(candidate.backbone, setting, path)
    if candidate.start.of != "scratch" and isinstance(candidate.objective, TaughtObjective):
        why = f"objective {candidate.objective.name!r} begins with the weights of its teacher"
        problems.append(Problem((*path, "start"), f"{why}; leave start out"))
    problems = problems or _untrainable(candidate, setting, path)
    return problems or [*_misplaced(candidate, setting, path), *_without_sibling(candidate, setting, path)]


def _untrainable(candidate: Candidate, setting: InputSpec, path: Path) -> list[Problem]:
    """Return why the objective cannot train the candidate's process."""
    objective = candidate.objective
    reason = objective.unfit(candidate.for_setting(setting).process(PIXELS))
    where = (*path, "objective")
    return [] if reason is None else [Problem(where, f"{objective.kind} {objective.name!r}: {reason}")]


def _misplaced(candidate: Candidate, setting: InputSpec, path: Path) -> list[Problem]:
    """Return which auxiliary terms read activations that the network does not have, or that do not suit them."""
    if not candidate.auxiliary:
        return []
    try:
        host = host_of(candidate.backbone, setting)
    except Exception:  # noqa: BLE001 - a network that cannot be built is reported where it is counted
        return []
    problems = []
    for i, part in enumerate(candidate.auxiliary):
        try:
            part.sites(host)
        except InputError as error:
            problems.append(Problem((*path, "auxiliary", i), f"{part.kind} {part.name!r}: {error.message}"))
    return problems


def _without_sibling(candidate: Candidate, setting: InputSpec, path: Path) -> list[Problem]:
    """Return why the network that guidance trains beside cannot be."""
    guidance = candidate.guidance
    where, me = (*path, "guidance"), f"{guidance.kind} {guidance.name!r}"
    try:
        sibling = candidate.sibling(setting)
    except InputError as error:
        return [Problem(where, f"{me}: {error.message}")]
    if sibling is not None and candidate.start.of != "scratch":
        why = "and the weights that training starts from are those of the main one alone"
        return [Problem(where, f"{me} trains a smaller network beside the main one, {why}; take another guidance")]
    if sibling is not None and isinstance(candidate.objective, TaughtObjective):
        why = f"objective {candidate.objective.name!r} learns from a teacher of the network's own size"
        return [Problem(where, f"{me} trains a smaller network as the main one is trained, but {why}")]
    return []


def format_component(part: Component) -> str:
    """Format a component for a message, with the components in its slots: `backbone 'dit' (conditioning 'adaln')`."""
    within = ", ".join(f"{p.kind} {p.name!r}" for at, p in part.parts() if at)
    return f"{part.kind} {part.name!r}{f' ({within})' if within else ''}"


def meta_network(backbone: Backbone, setting: InputSpec) -> nn.Module:
    """Return the network of a backbone on torch's meta device: shapes without numbers, nothing is allocated."""
    from ablate.runtime.meta_device import OnMeta

    with OnMeta():
        return backbone.build(setting)


@lru_cache(maxsize=1024)
def trainable_params(candidate: Candidate, setting: InputSpec) -> int:
    """Count the parameters that are trained, where an adapter leaves the others as they are.

    Raises BuildError where the network has none that it could adapt.
    """
    try:
        with isolated():
            network = meta_network(candidate.backbone, setting)
            candidate.adapter.apply(network)
    except ValueError as error:
        raise BuildError(f"adapter {candidate.adapter.name!r}: {error}") from None
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@lru_cache(maxsize=256)
def host_of(backbone: Backbone, setting: InputSpec) -> Host:
    """Return what the terms of an objective may know of a backbone's network: its blocks, and the shapes they give.

    Of a forward pass on the meta device. A block that gives no tensor, or none for each image, is left out.
    """
    import torch
    from torch import Tensor

    from ablate.runtime.meta_device import OnMeta

    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim > 1 and len(output) == 1:
                shapes.setdefault(name, tuple(output.shape[1:]))

        return hook

    with isolated():
        network = meta_network(backbone, setting)
        for name, block in network_blocks(network).items():
            block.register_forward_hook(note(name))
        with OnMeta(), torch.no_grad():
            network(torch.empty(1, *setting.shape), torch.empty(1), told_on_meta(setting, 1))
    return Host(setting, shapes)


@lru_cache(maxsize=4096)
def cost_of(backbone: Backbone, setting: InputSpec) -> Cost:
    """Count the parameters, multiply-accumulates and Gflops of a backbone on the meta device: nothing is allocated.

    Raises BuildError where its own code fails or changes what is global for the process,
    and where the network is larger than any machine.
    """
    if (known := elsewhere.COSTS.pop((backbone, setting), None)) is not None:
        return known
    from ablate.candidates import spare
    from ablate.candidates.flops import measure

    subject = f"backbone {backbone.name!r}"

    def build() -> nn.Module:
        return meta_network(backbone, setting)

    try:
        with isolated() as before:
            network = build()
            before.check(f"{format_component(backbone)}, while it is built,", build)
            params = sum(parameter.numel() for parameter in network.parameters())
            if params <= MOST_PARAMS:
                routed = any(ROUTED in part.provides() for _, part in backbone.parts())
                built = spare.State(network)
                cost = measure(network, setting, routed)
                before.check(f"{format_component(backbone)}, in a forward pass,", lambda: measure(network, setting))
                if built.same():
                    spare.keep(backbone, setting, network)
                return cost
    except GlobalStateError as error:
        raise BuildError(str(error)) from None
    except Exception as error:  # a plugin's own code
        reason = exception_summary(error)
        why = META if any(word in reason for word in ("meta", "scalarType")) else ""
        raise BuildError(f"{subject} cannot be built: {reason}{why}") from error
    raise BuildError(f"{subject} has {params:.3g} parameters; at most {MOST_PARAMS:.0e} fit into any machine")
