"""The data dictionary: what each column of the result tables means, its unit, and whether smaller is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ablate.results import columns_of_findings
from ablate.results.column_doc import CANDIDATE, CHOICE, HASH, ColumnDoc

if TYPE_CHECKING:
    import pandas as pd

TABLES = {
    "trials": "A row a trial: one candidate trained with one seed.",
    "metrics": "A row a measurement: one metric of one trial, sampled in one way.",
    "curves": "A row a logged point of a trial's training curve.",
    "probes": "A row a value that a probe recorded at one place of a network during training.",
    "front": "A row a candidate (or a candidate at one setting): its means over seeds, and whether it is on the Pareto "
    "front.",
    "effects": "A row a candidate: its difference from the baseline, paired by seed, with confidence interval and "
    "p-value.",
    "main_effects": "A row a change of one factor, or of two at once: what it does in a factorial design, over all "
    "trials.",
    "race": "A row a candidate, where a `seeding` added seeds: what is shown of it, however often one looked.",
    **columns_of_findings.TABLES,
}
# Columns whose names a study decides, by how they begin. In `front`, an objective has its own name.
OPEN = {"c.": "c.<path>", "term.": "term.<name>", "match.": "match.<path>", "m.": "m.<metric>", "p.": "p.<probe>"}

_TRIAL = ColumnDoc("the trial's folder below trials/: the start of config_hash, and the seed")
_SEED = ColumnDoc(
    "random seed of the initial weights, of the order of the data and of the noise; trials of one seed are paired"
)
_BESIDE = {"candidate": CANDIDATE, "seed": _SEED, "c.<path>": CHOICE}
_IMAGES = ColumnDoc("training images that the network had seen by then, repeats counted", "images")
_SAMPLE_GFLOPS = ColumnDoc(
    "cost of drawing one sample: NFE × network calls that guidance takes × gflops, and guidance's own network",
    "Gflops",
    "smaller",
)
_DIVERGED = ColumnDoc("seeds of the candidate that diverged, and so have no value", "seeds", "smaller")

COLUMNS: Mapping[str, Mapping[str, ColumnDoc]] = {
    "trials": {
        "trial": _TRIAL,
        "config_hash": HASH,
        "candidate": CANDIDATE,
        "seed": _SEED,
        "state": ColumnDoc(
            "complete, diverged, failed, paused (by a fidelity, before its end), running, or unreadable"
        ),
        "c.<path>": CHOICE,
        "match.<path>": ColumnDoc("the size that was adjusted so that all candidates cost about the same"),
        "m.<metric>": ColumnDoc(
            "the metric at the end of training, sampled as the study says; missing where the trial is not complete",
            "the metric's own",
            "as the metric",
        ),
        "p.<probe>": ColumnDoc(
            "the one number to which the probe sums up its observations", "the probe's own", "as the probe"
        ),
        "params": ColumnDoc("trainable parameters of the backbone", "parameters", "smaller"),
        "trainable_params": ColumnDoc(
            "parameters that are trained, where an adapter such as LoRA leaves the backbone's own as they are",
            "parameters",
            "smaller",
        ),
        "gflops": ColumnDoc(
            "cost of one forward pass of the backbone for one image, without guidance; 1 Gflop is 1e9 "
            "multiply-accumulates here",
            "Gflops",
            "smaller",
        ),
        "macs": ColumnDoc("multiply-accumulates of that forward pass", "multiply-accumulates", "smaller"),
        "sample_gflops": _SAMPLE_GFLOPS,
        "train_gflops": ColumnDoc(
            "cost of its training as far as it came, forward and backward: 3 · gflops · images (or 3 · "
            "train_pass_gflops · images)",
            "Gflops",
            "smaller",
        ),
        "train_pass_gflops": ColumnDoc(
            "cost of one pass in training, a third of a step, where routing, the objective or a sibling of guidance "
            "makes it another than `gflops`; of what is trained for a part of the training, the mean over all of it",
            "Gflops",
            "smaller",
        ),
        "images": ColumnDoc(
            "training images that it has seen, repeats counted; of a diverged trial, until it diverged",
            "images",
            "smaller",
        ),
        "seconds": ColumnDoc("wall-clock time of the whole trial, over all its runs", "s", "smaller"),
        "train_seconds": ColumnDoc("wall-clock time of training alone", "s", "smaller"),
        "evaluate_seconds": ColumnDoc("wall-clock time of sampling and measuring", "s", "smaller"),
        "overhead_seconds": ColumnDoc("wall-clock time of the rest: setup, logging, checkpoints", "s", "smaller"),
        "ended": ColumnDoc("when it ended, or was paused: Unix time, in seconds since 1970", "s"),
        "peak_memory_bytes": ColumnDoc("peak memory of the whole trial, evaluation included", "bytes", "smaller"),
        "train_memory_bytes": ColumnDoc("peak memory of training", "bytes", "smaller"),
        "estimated_memory_bytes": ColumnDoc("memory that training was estimated to need before it began", "bytes"),
        "loss": ColumnDoc(
            "training loss, mean over the last tenth of the curve; comparable only where target and weighting are "
            "the same",
            "",
            "smaller",
        ),
        "noise": ColumnDoc(
            "how noisy its samples look: 0 as smooth as the data, 1 white noise, below 0 smoother than the data",
            "",
            "smaller",
        ),
        "variety": ColumnDoc(
            "how much its samples differ from one another: 0 all alike (collapsed), 1 as much as the data",
            "",
        ),
        "micro": ColumnDoc(
            "micro-batch size of gradient accumulation, where the whole batch is not taken in one forward pass",
            "images",
        ),
        "packed": ColumnDoc(
            "how many trials were trained as one, with this one; its seconds are then its share, its memory unknown",
            "trials",
        ),
        "compile_seconds": ColumnDoc(
            "time of compiling the network, within `overhead_seconds`; only where asked for",
            "s",
            "smaller",
        ),
        "devices": ColumnDoc("GPUs, on the CPU processes, that shared each step, where there were several"),
        "device_busy": ColumnDoc(
            "share of a few steps of the training in which the GPU computes; missing on other devices", "", "larger"
        ),
        "skipped_steps": ColumnDoc(
            "optimizer steps that loss scaling (fp16) skipped for a gradient that was not finite", "steps", "smaller"
        ),
        "failure": ColumnDoc("class of the error that ended the trial, where it failed"),
        "message": ColumnDoc("why it failed or diverged"),
        "device": ColumnDoc("the processor that trained it"),
        "versions": ColumnDoc("versions of Python and of packages, as JSON"),
        "data_hash": ColumnDoc("SHA-256 of the data that it was trained on"),
        "sources": ColumnDoc("hash of the source code of each component that it used, as JSON"),
        "origin": ColumnDoc("the folder of another study that it was taken from (`reuse`); only where some were"),
        "continued_from": ColumnDoc(
            "the folder of the shorter training from whose checkpoint it went on; only where some did"
        ),
        "continued_images": ColumnDoc("images after which it went on from there, counted in `images`", "images"),
        "inherited_from": ColumnDoc(
            "the trial with whose weights it began, of the candidate from which the search made it; only where some did"
        ),
        "inherited_share": ColumnDoc("share of its parameters that it took over from there"),
        "inherited_gap": ColumnDoc(
            "how far its network's output was from the parent's when it began, over the root mean square of that: 0 is "
            "the same function",
            "",
            "smaller",
        ),
        "ancestors": ColumnDoc("how many trials it inherited from, one after the other", "trials"),
        "ancestors_train_gflops": ColumnDoc(
            "cost of the trainings of these, all together, which is not in train_gflops", "Gflops", "smaller"
        ),
        "replayed": ColumnDoc("the recorded table from which it was replayed, without training; only where some were"),
        "simulated_end": ColumnDoc("when a replayed trial ended, on the simulated clock of its study", "s"),
    },
    "metrics": {
        "trial": _TRIAL,
        **_BESIDE,
        "metric": ColumnDoc(
            "the metric's column: its name, its features and, where that decides the value, the sample size"
        ),
        "value": ColumnDoc("the measured value", "the metric's own", "as the metric"),
        "error": ColumnDoc(
            "standard error of the value, where the metric estimates one", "the metric's own", "smaller"
        ),
        "images": _IMAGES,
        "ema": ColumnDoc("which exponential moving average of the weights was sampled"),
        "solver": ColumnDoc("the solver (sampler) that drew the samples"),
        "solver_settings": ColumnDoc("the solver's other fields that decide a sample, such as its grid of timesteps"),
        "nfe": ColumnDoc("NFE: evaluations of the denoiser for one sample", "evaluations", "smaller"),
        "guidance": ColumnDoc("kind and scale of guidance, such as classifier-free guidance: cfg(1.5)"),
        "sample_gflops": _SAMPLE_GFLOPS,
        "samples": ColumnDoc("how many samples were drawn and measured", "samples"),
        "features": ColumnDoc("the network whose features were compared"),
        "features_hash": ColumnDoc("hash of that network's weights"),
        "reference": ColumnDoc("which reference images were compared with: all, or the even or odd ones by number"),
        "reference_hash": ColumnDoc("hash of those reference images"),
        "labels": ColumnDoc(
            "how the classes of the samples were drawn: random, reference (as its conditions), or balanced: nothing"
        ),
        "quantisation": ColumnDoc("how samples became 8-bit pixels before they were measured"),
        "solver_error": ColumnDoc(
            "relative error of the samples' standard deviation that the solver alone causes (Gaussian data, exact "
            "denoiser): "
            "0.1 is 10 % too wide, negative too narrow; best near 0"
        ),
        "train_seconds": ColumnDoc("wall-clock time of training until then", "s", "smaller"),
    },
    "curves": {
        "trial": _TRIAL,
        **_BESIDE,
        "images": _IMAGES,
        "loss": ColumnDoc("training loss, mean since the previous point", "", "smaller"),
        "lr": ColumnDoc("the optimizer's learning rate at that point"),
        "grad_norm": ColumnDoc("2-norm of the whole gradient before clipping, mean since the previous point"),
        "grad_norm_clipped": ColumnDoc("the same after clipping"),
        "images_per_second": ColumnDoc("training throughput since the previous point", "images/s", "larger"),
        "seconds": ColumnDoc("time of training so far", "s"),
        "train_gflops": ColumnDoc(
            "compute of training so far, forward and backward: 3 · gflops · images (or 3 · train_pass_gflops · images)",
            "Gflops",
        ),
        "term.<name>": ColumnDoc(
            "a term of the loss, before its weight, mean since the previous point; where the loss has several"
        ),
        "m.<metric>": ColumnDoc(
            "the metric at that point of the training (`evaluate.at`), all points on one number of samples",
            "the metric's own",
            "as the metric",
        ),
    },
    "probes": {
        "trial": _TRIAL,
        **_BESIDE,
        "probe": ColumnDoc("the probe's name"),
        "images": _IMAGES,
        "site": ColumnDoc("where in the network it was observed, or of what"),
        "x": ColumnDoc("place along the probe's own axis: a depth, a log SNR", "as attrs['axes'] says"),
        "value": ColumnDoc("what was observed there", "the probe's own", "as the probe"),
    },
    "front": {
        "candidate": CANDIDATE,
        "config_hash": HASH,
        "c.<path>": CHOICE,
        "<objective>": ColumnDoc(
            "mean of the objective over the complete seeds; where a seeding added some, as if all had the same (least "
            "squares)",
            "the objective's own",
            "as the objective",
        ),
        "<objective>.sd": ColumnDoc(
            "its standard deviation over seeds (n − 1 in the denominator); missing with one seed", "the objective's own"
        ),
        "<along>": ColumnDoc(
            "the setting of the point (nfe, guidance, ema, solver), where the front is asked along it"
        ),
        "n": ColumnDoc("complete seeds in which every objective is finite", "seeds"),
        "diverged": _DIVERGED,
        "failed": ColumnDoc("seeds of the candidate that ended in an error, and so have no value", "seeds", "smaller"),
        "paused": ColumnDoc("seeds of the candidate that a fidelity paused before the end of their budget", "seeds"),
        "violates": ColumnDoc(
            "which constraint of the study the candidate breaks, or from whom it inherited weights: it is not on this "
            "front; only where there are such"
        ),
        "on_front": ColumnDoc(
            "whether it is non-dominated: no other candidate is at least as good in all objectives and better in one"
        ),
    },
    "effects": {
        "candidate": CANDIDATE,
        "config_hash": HASH,
        "c.<path>": CHOICE,
        "mean": ColumnDoc("the candidate's mean over the paired seeds", "the metric's own", "as the metric"),
        "baseline_mean": ColumnDoc("the baseline's mean over the same seeds", "the metric's own", "as the metric"),
        "difference": ColumnDoc(
            "difference, candidate − baseline, as the test estimates it: the mean over the paired seeds, where some "
            "are missing the least-squares estimate of the two-way model; on the log scale of the geometric means",
            "the metric's own",
            "as the metric",
        ),
        "low": ColumnDoc(
            "lower end of the 95 % confidence interval of the difference, for all comparisons at once (Bonferroni); "
            "where one looked at fewer seeds before, one that allows for it; missing on the log scale, and for ranks",
            "the metric's own",
        ),
        "high": ColumnDoc("upper end of that interval", "the metric's own"),
        "ratio": ColumnDoc("candidate / baseline, on the log scale; below 1 the candidate's values are smaller"),
        "ratio_low": ColumnDoc("lower end of its interval, as `low`"),
        "ratio_high": ColumnDoc("upper end of that interval"),
        "p": ColumnDoc(
            "two-sided p-value of this comparison by itself, by the study's declared test; of one that diverged, by "
            "signed ranks; where seeds were added while one looked, by the paired t-test with alpha spending"
        ),
        "p_holm": ColumnDoc(
            "the same after Holm's correction over the candidates, and for all looks: below alpha (0.05) is significant"
        ),
        "p_equivalent": ColumnDoc(
            "corrected p of the two one-sided tests (TOST) that the difference is beyond ±delta: below alpha they are "
            "equivalent; only where the analysis declares a delta"
        ),
        "answer": ColumnDoc("better, worse, equivalent or open: what the corrected p-values allow to be said"),
        "smallest_p": ColumnDoc(
            "the smallest p that so many pairs can give by this test; at looks 0, before the first 1"
        ),
        "n": ColumnDoc("seeds that both the candidate and the baseline completed", "pairs"),
        "diverged": _DIVERGED,
        "note": ColumnDoc("what to know of this comparison: lost seeds, too few pairs"),
    },
    "pairs": {
        "candidate": CANDIDATE,
        "other": ColumnDoc("the candidate that it is compared with"),
        "config_hash": HASH,
        "other_hash": ColumnDoc("the same of the other candidate"),
        "difference": ColumnDoc("difference, candidate − other", "the metric's own", "as the metric"),
        "low": ColumnDoc("lower end of its 95 % confidence interval, for all pairs at once", "the metric's own"),
        "high": ColumnDoc("upper end of that interval", "the metric's own"),
        "ratio": ColumnDoc("candidate / other, on the log scale, in place of the difference"),
        "ratio_low": ColumnDoc("lower end of its interval"),
        "ratio_high": ColumnDoc("upper end of that interval"),
        "p": ColumnDoc("two-sided p-value of this pair by itself"),
        "p_holm": ColumnDoc("the same after Holm's correction over all pairs, and for all looks"),
        "p_equivalent": ColumnDoc("corrected p of a difference beyond ±delta; only where a delta is declared"),
        "answer": ColumnDoc("better, worse, equivalent or open: the candidate beside the other"),
        "n": ColumnDoc("seeds that both completed", "pairs"),
        "diverged": ColumnDoc("runs of the two that diverged", "runs", "smaller"),
    },
    "main_effects": {
        "effect": ColumnDoc(
            "the change from the baseline's level, as path=level; two of them with × for an interaction"
        ),
        "factor": ColumnDoc("the path that changes, or the two"),
        "difference": ColumnDoc(
            "what the change does to the metric, averaged over the levels of the factors that it is paired with; of an "
            "interaction, by how much the change of one differs under the other's",
            "the metric's own",
            "as the metric",
        ),
        "low": ColumnDoc("lower end of its 95 % interval (mixed model, Student's t)", "the metric's own"),
        "high": ColumnDoc("upper end of that interval", "the metric's own"),
        "p": ColumnDoc("two-sided p-value of the t-test that it is 0; missing where no trial is left to tell noise by"),
        "p_holm": ColumnDoc("the same after Holm's correction over all rows: below 0.05 is significant"),
        "n": ColumnDoc("complete trials with the level, or with both levels", "trials"),
        "note": ColumnDoc("why an effect is missing: what these candidates, or their seeds, cannot tell it from"),
    },
    "race": {
        "candidate": CANDIDATE,
        "config_hash": HASH,
        "n": ColumnDoc("seeds that are looked at", "seeds"),
        "verdict": ColumnDoc(
            "better, worse or open: than the baseline in the study's first measured objective, at the study's looks"
        ),
        "front": ColumnDoc("on, off or open: whether it is shown to be on the front of all objectives, or not to be"),
    },
    "time_to_quality": {
        "candidate": CANDIDATE,
        "config_hash": HASH,
        "c.<path>": CHOICE,
        "time_to_quality": ColumnDoc(
            "compute that training takes to reach a value of the metric, geometric mean over the complete seeds; "
            "missing where one of them does not reach it",
            "as attrs['of'] says",
            "smaller",
        ),
        "low": ColumnDoc(
            "lower end of its 95 % interval (Student's t in the logarithm, one deviation for all candidates)",
            "the same",
        ),
        "high": ColumnDoc("upper end of that interval", "the same"),
        "reached": ColumnDoc("complete seeds that reach the value", "seeds", "larger"),
        "n": ColumnDoc("complete seeds", "seeds"),
    },
    **columns_of_findings.COLUMNS,
}


def lookup(table: str, column: str, objectives: Sequence[str] = ()) -> ColumnDoc | None:
    """Return the description of a column of a table; None where there is none.

    `c.backbone.width` is looked up as `c.<path>`. objectives: those of a front, whose columns have their names.
    """
    docs = COLUMNS[table]
    if column in docs:
        return docs[column]
    for start, name in OPEN.items():
        if column.startswith(start):
            return docs.get(name)
    if table not in ("front", "attainment"):
        return None
    if column in objectives:
        doc = COLUMNS["trials"].get(column) or COLUMNS["metrics"].get(column)  # a cost, the loss, nfe
        return replace(docs["<objective>"], unit=doc.unit, better=doc.better) if doc else docs["<objective>"]
    if column.removesuffix(".sd") in objectives:
        return docs["<objective>.sd"]
    return docs["<along>"] if column in COLUMNS["metrics"] else None


def describe(tables: Mapping[str, pd.DataFrame], larger_is_better: Mapping[str, bool]) -> pd.DataFrame:
    """Return a table of the columns of these tables: table, column, meaning, unit, better.

    larger_is_better: by the name of a metric or a probe; where it says so, `better` is "smaller" or "larger" in place
    of "as the metric". A column without a description has an empty meaning.
    """
    import pandas as pd

    rows = []
    for table, frame in tables.items():
        for column in map(str, frame.columns):
            doc = lookup(table, column, frame.attrs.get("objectives", ())) or ColumnDoc("")
            judged = (
                frame.attrs.get("metric", "")
                if frame.attrs.get("metric")
                else column.removeprefix("m.").removeprefix("p.")
            )
            better: str = doc.better
            if judged in larger_is_better and better.startswith("as "):
                better = "larger" if larger_is_better[judged] else "smaller"
            rows.append({"table": table, "column": column, "meaning": doc.meaning, "unit": doc.unit, "better": better})
    return pd.DataFrame(rows, columns=["table", "column", "meaning", "unit", "better"])
