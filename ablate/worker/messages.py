"""The types of what goes between driver and worker, and into a trial's folder: jobs, reports, records.

They are the JSON itself, typed (`TypedDict`): nothing is converted, and keys that are not listed here stay. What comes
in is checked once, at the border: jobs by `trial_job` and `measure_job`, reports by `worker_report`, records by
`ablate.worker.records.fault`.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NotRequired, cast

from pydantic import ConfigDict, SkipValidation, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from ablate.errors import InputError
from ablate.kinds.executor import Job, Report
from ablate.training.health import Divergence

Phase = Literal["train", "measure"]  # of a trial


class TeacherOfJob(TypedDict):
    """The finished trial from whose weights a trial learns."""

    trial: str
    folder: str
    start: NotRequired[
        bool
    ]  # whether the trial begins with its weights (`start`), of a network that may be another one
    weights: NotRequired[str | None]  # hash of what it has trained (`ablate.worker.teachers.weights_hash`), once known


class Continues(TypedDict):
    """The checkpoint of a shorter training of the same candidate and seed, from which a trial begins."""

    trial: str  # its folder
    images: int
    study: str  # the folder of its study, as the record calls it


class ContinuedFrom(TypedDict):
    """What a record says of that checkpoint. `train_seconds`: that the shorter training took until there."""

    folder: str
    trial: str
    images: int
    train_seconds: float


class InheritedFrom(TypedDict):
    """What a record says of weights that were inherited. parent: start of its config_hash.

    ancestors: how many, the parent among them; train_gflops: of their trainings, all together. share: of the trial's
    parameters that were taken over. gap: of its network's output from the parent's when it began, relative; null where
    the two cannot be compared.
    """

    parent: str
    ancestors: int
    train_gflops: float
    share: float
    gap: float | None


@with_config(ConfigDict(extra="allow"))
class TrialJob(TypedDict):
    """The job of a trial run; `job.json` in the trial's folder while it is not finished."""

    schema: int
    job: str  # its name, unique in a run
    trial: str
    folder: str
    config_hash: str
    seed: int
    choices: dict[str, Any]  # {path: label}
    candidate: dict[str, Any]  # specs, from here on
    data: dict[str, Any]
    budget: dict[str, Any]
    evaluation: dict[str, Any]
    plugins: list[str]
    probes: NotRequired[list[dict[str, Any]]]
    params: int | None  # None: the network could not be built
    gflops: float | None
    macs: float | None
    sample_gflops: NotRequired[float | None]
    train_pass_gflops: NotRequired[float]  # of a pass in training, where it is another than `gflops`
    trainable_params: NotRequired[int]  # that are trained, where an adapter leaves the others as they are
    matched: NotRequired[dict[str, Any]]  # {path: size} by which its cost was brought to the others'
    hashes: NotRequired[str]  # how source is hashed
    sources: NotRequired[dict[str, str]]  # {kind/name: hash of its source}
    root: NotRequired[str]
    data_hash: NotRequired[str | None]
    device: NotRequired[str]  # "cpu" or "cuda"
    cache: NotRequired[str]
    estimated_memory_bytes: NotRequired[int | None]
    whole_batch: NotRequired[bool]  # a term couples the images of a batch: it cannot be cut into micro-batches
    teacher: NotRequired[TeacherOfJob]
    micro: NotRequired[int | None]  # micro-batch, after out of memory (gradient accumulation)
    sampling_batch: NotRequired[int | None]  # samples drawn at a time, after out of memory
    threads: NotRequired[int | None]
    prepare: NotRequired[bool]  # only make what all trials share
    until: NotRequired[float | None]  # share of the budget, one of the evaluation's points, at which the trial pauses
    continues: NotRequired[Continues]  # a shorter training from whose checkpoint it begins
    checkpoints: NotRequired[list[float]]  # shares of the budget after which a checkpoint stays for good


class Ways(TypedDict):
    """How a trial is measured again: specs, and averages (EMA) by label or relative length (None: the study's own)."""

    evaluation: dict[str, Any]
    solver: dict[str, Any]
    guidance: dict[str, Any]
    averages: list[str | float] | None


@with_config(ConfigDict(extra="allow"))
class MeasureJob(TrialJob):
    """The job of a measurement of a trained trial (`ablate evaluate`)."""

    asked: Ways


class CompiledAs(TypedDict):
    """What a record says of compiling the network. eager: why it ran as it is; None where it ran compiled."""

    mode: str
    graphs: int
    eager: str | None


class SampledAs(TypedDict):
    """What a record says of captured evaluations in sampling. plain: why they were plain; None where replayed."""

    plain: str | None
    replayed: int


class CapturedAs(TypedDict):
    """What a record says of captured steps. plain: why the plain step was taken; None where steps were replayed."""

    plain: str | None
    replayed: int
    sampling: NotRequired[SampledAs]


class Record(TypedDict):
    """The result of a trial, in its folder (`ablate.worker.records`). Times in seconds, memory in bytes."""

    schema: int
    trial: str
    config_hash: str
    seed: int
    choices: dict[str, Any]
    params: int | None
    gflops: float | None
    macs: float | None
    trainable_params: NotRequired[int]
    matched: NotRequired[dict[str, Any]]
    sample_gflops: NotRequired[float | None]
    state: Literal["complete", "diverged", "paused"]
    images: int
    loss: NotRequired[float | None]
    seconds: float
    train_seconds: NotRequired[float]
    evaluate_seconds: NotRequired[float]
    overhead_seconds: NotRequired[float]
    ended: NotRequired[float]  # when, in seconds since 1970 (Unix time)
    peak_memory_bytes: NotRequired[int | None]
    train_memory_bytes: NotRequired[int | None]
    estimated_memory_bytes: NotRequired[int | None]
    device: NotRequired[str]
    host: NotRequired[str]
    hashes: NotRequired[str]
    sources: NotRequired[dict[str, str]]
    versions: NotRequired[dict[str, str]]
    data_hash: NotRequired[str | None]
    metrics: list[dict[str, Any]]  # one row an average and metric: of the end first, then of points of the training
    train_seconds_at: NotRequired[dict[str, float]]  # of training until each point, by images
    unmeasured: NotRequired[dict[str, str]]  # why nothing was measured at a point, by images
    shares: NotRequired[dict[str, dict[str, float | None]]]  # images, loss and seconds at a share of the budget
    weighting: NotRequired[list[dict[str, float]]]
    divergence: NotRequired[Divergence | None]
    files: NotRequired[dict[str, str]]  # {name: SHA-256}
    beside: NotRequired[str]  # SHA-256 of the second line of a packed file, with the trial's job, curve and probes
    companion_loss: NotRequired[float | None]
    probes: NotRequired[dict[str, float | None]]
    noise: NotRequired[float | None]  # of the samples: 0 as smooth as the data, 1 white noise
    variety: NotRequired[float | None]  # of the samples: 0 all alike, 1 as different as the data
    skipped_steps: NotRequired[int]
    micro: NotRequired[int]
    packed: NotRequired[int]  # how many trials were trained as one, this one among them; then seconds are its share
    compile_seconds: NotRequired[float]  # of `overhead_seconds`, where the candidate says `compile`
    compile: NotRequired[CompiledAs]
    capture: NotRequired[CapturedAs]
    devices: NotRequired[int]  # that shared its steps, where there were several
    device_busy: NotRequired[float]  # share of a few steps in which the GPU computes
    teacher: NotRequired[dict[str, str]]  # trial, and the hash of its weights, from which it has learned
    inherited: NotRequired[InheritedFrom]  # where it began with weights of another candidate of its search
    continued_from: NotRequired[ContinuedFrom]  # where the training was not begun from nothing
    replayed: NotRequired[str]  # from which recorded table; its seconds are simulated
    simulated_end: NotRequired[float]  # of a replayed trial: when it ended, in seconds since its study began
    checksum: NotRequired[str]


class SourceChange(TypedDict):
    """A component that is other source in a worker than in the run. A hash is None where the component is missing."""

    component: str  # kind/name
    wanted: str | None  # hash of its source in the run
    found: str | None  # hash of its source in the worker
    file: str | None
    host: str


@with_config(ConfigDict(extra="allow"))
class WorkerReport(Report):
    """What a worker reports of a job of `ablate`, beside how it ended."""

    host: NotRequired[str]
    record: NotRequired[SkipValidation[Record]]  # of a trial; `ablate.worker.records.fault` checks it
    rows: NotRequired[list[dict[str, Any]]]  # of a measurement
    data_hash: NotRequired[str | None]  # of the preparation
    phase: NotRequired[Phase]  # out of memory: what the memory did not suffice for
    errno: NotRequired[int | None]  # the disk is full, or refuses
    other_data: NotRequired[str]  # where the worker has other data than the run: which
    other_source: NotRequired[list[SourceChange]]  # where it has other source code
    members: NotRequired[list[Any]]  # of a pack: reports of those trials that have ended
    apart: NotRequired[dict[str, str]]  # ... and why others have to run alone, by job
    unfit: NotRequired[str]  # ... and why trials of this shape cannot be trained as one


def worker_report(report: Mapping[str, Any], executor: str) -> WorkerReport:
    """Check a report that an executor's pool gave back. Raises InputError, which names the executor and the key."""
    plain = dict(report) if isinstance(report, Mapping) else report
    if (problem := _problem(WorkerReport, plain, "report")) is not None:
        raise InputError(f"gave back a report that is not valid: {problem}", f"executor {executor!r}")
    return cast(WorkerReport, plain)


def trial_job(job: Job) -> TrialJob:
    """Check a trial's job, and return it typed. Raises InputError where a key is missing or of another type."""
    return cast(TrialJob, _checked(TrialJob, job))


def measure_job(job: Job) -> MeasureJob:
    """Do the same for the job of a measurement."""
    return cast(MeasureJob, _checked(MeasureJob, job))


def _checked(kind: type, job: Job) -> Job:
    if (problem := _problem(kind, job, "job")) is not None:
        raise InputError(f"is no job that this version of ablate can run: {problem}", "job")
    return job


def _problem(kind: type, message: object, name: str) -> str | None:
    """Return what is wrong with a message, after the key where it is wrong; after `name`, where it is no mapping."""
    try:
        _adapter(kind).validate_python(message, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or name}: {first['msg']}"
    return None


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
