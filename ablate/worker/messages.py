"""The types of what goes between driver and worker, and into a trial's folder: jobs, records, divergences.

They are the JSON itself, typed (`TypedDict`): nothing is converted, and keys that are not listed here stay. What comes
in is checked once, at the border: jobs by `trial_job` and `measure_job`, records by `ablate.worker.records.fault`.
"""

from functools import cache
from typing import Any, Literal, NotRequired, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from ablate.errors import InputError
from ablate.kinds.executor import Job


@with_config(ConfigDict(extra="allow"))
class TrialJob(TypedDict):
    """What a worker is given to run a trial; `job.json` in the trial's folder."""

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
    matched: NotRequired[dict[str, Any]]  # {path: size} by which its cost was brought to the others'
    hashes: NotRequired[str]  # how source is hashed
    sources: NotRequired[dict[str, str]]  # {kind/name: hash of its source}
    root: NotRequired[str]
    data_hash: NotRequired[str | None]
    device: NotRequired[str]  # "cpu" or "cuda"
    cache: NotRequired[str]
    estimated_memory_bytes: NotRequired[int | None]
    micro: NotRequired[int | None]  # micro-batch, after out of memory (gradient accumulation)
    sampling_batch: NotRequired[int | None]  # samples drawn at a time, after out of memory
    threads: NotRequired[int | None]
    prepare: NotRequired[bool]  # only make what all trials share


class Ways(TypedDict):
    """How a trial is measured again: specs, and averages (EMA) by label or relative length (None: the study's own)."""

    evaluation: dict[str, Any]
    solver: dict[str, Any]
    guidance: dict[str, Any]
    averages: list[str | float] | None


@with_config(ConfigDict(extra="allow"))
class MeasureJob(TrialJob):
    """What a worker is given to measure a trial again (`ablate evaluate`)."""

    asked: Ways


class Divergence(TypedDict):
    """Where and why a training, or the sampling after it, went out of range; `divergence` of a record."""

    step: int
    images: int
    module: str | None
    message: str
    log_snr: list[float] | None  # the batch's lowest and highest
    worst: list[dict[str, float | None]]  # {"log_snr", "loss"} of the images with the worst loss
    last: list[dict[str, Any]]  # the last steps before
    weight_norm: float | None


class Record(TypedDict):
    """What a trial came to; `record.json` in its folder. Times in seconds, memory in bytes."""

    schema: int
    trial: str
    config_hash: str
    seed: int
    choices: dict[str, Any]
    params: int | None
    gflops: float | None
    macs: float | None
    matched: NotRequired[dict[str, Any]]
    sample_gflops: NotRequired[float | None]
    state: Literal["complete", "diverged"]
    images: int
    loss: NotRequired[float | None]
    seconds: float
    train_seconds: NotRequired[float]
    evaluate_seconds: NotRequired[float]
    overhead_seconds: NotRequired[float]
    peak_memory_bytes: NotRequired[int | None]
    train_memory_bytes: NotRequired[int | None]
    estimated_memory_bytes: NotRequired[int | None]
    device: NotRequired[str]
    host: NotRequired[str]
    hashes: NotRequired[str]
    sources: NotRequired[dict[str, str]]
    versions: NotRequired[dict[str, str]]
    data_hash: NotRequired[str | None]
    metrics: list[dict[str, Any]]  # one row an average and metric
    weighting: NotRequired[list[dict[str, float]]]
    divergence: NotRequired[Divergence | None]
    files: NotRequired[dict[str, str]]  # {name: SHA-256}
    companion_loss: NotRequired[float | None]
    probes: NotRequired[dict[str, float | None]]
    noise: NotRequired[float | None]
    skipped_steps: NotRequired[int]
    micro: NotRequired[int]
    checksum: NotRequired[str]


def trial_job(job: Job) -> TrialJob:
    """A job as it came in, checked. Raises InputError where a key is missing or of another type."""
    return cast(TrialJob, _checked(TrialJob, job))


def measure_job(job: Job) -> MeasureJob:
    """The same for a measurement of a trial that is trained already."""
    return cast(MeasureJob, _checked(MeasureJob, job))


def _checked(kind: type, job: Job) -> Job:
    try:
        _adapter(kind).validate_python(job, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "job"
        raise InputError(f"is no job that this version of ablate can run: {key}: {first['msg']}", "job") from None
    return job


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
