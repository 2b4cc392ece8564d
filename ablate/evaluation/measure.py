"""Evaluation of a trained network: draw samples with the averaged weights (EMA), and compute the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablate.candidates.candidate import Candidate
from ablate.candidates.evaluation import Evaluation
from ablate.evaluation.captured import CapturedSampling
from ablate.evaluation.decoding import measured_spec
from ablate.evaluation.metric_evaluator import MetricEvaluator, Pause, go_on
from ablate.evaluation.sampling import QUANTISATION, Sampler, make_sampler
from ablate.evaluation.solver_bias import DEVIATION, deviation_error
from ablate.kinds.data import Dataset
from ablate.kinds.ema import Kept, Weights
from ablate.kinds.process import Process
from ablate.spec.component import InputSpec


def measure(
    candidate: Candidate,
    process: Process,
    setting: InputSpec,
    network: nn.Module,
    averages: Mapping[str, Mapping[str, Tensor]],
    dataset: Dataset,
    evaluation: Evaluation,
    seed: int,
    images: int,
    cache: Path,
    device: torch.device,
    pause: Pause = go_on,
    companion: nn.Module | None = None,
    snapshots: Kept | None = None,
    sibling: tuple[nn.Module, Weights] | None = None,
    captured: CapturedSampling | None = None,
) -> tuple[list[dict[str, Any]], NDArray[np.uint8]]:
    """Sample and compute all metrics; return rows of the metrics table, and samples of the first average as previews.

    `pause` is called between batches; it may raise to stop. `companion` is the network of a guidance
    that has trained one, `snapshots` those of the training, for a guidance that is guided by an earlier state,
    `sibling` the smaller network that it has trained, and its weights; `captured` replays evaluations (None: as the
    candidate says). Raises InputError where it has none yet.
    """
    autoencoder = evaluation.autoencoder
    beside = (companion, snapshots, images, sibling, captured)
    sampler = make_sampler(candidate, process, setting, dataset, evaluation, seed, device, *beside)
    evaluator = MetricEvaluator(evaluation.metrics, dataset, cache, device, pause, evaluation.reference)
    rows: list[dict[str, Any]] = []
    previews: list[NDArray[np.uint8]] = []
    error = _solver_error(sampler, process, dataset.encoding is not None)
    samples = evaluation.drawn
    for label, weights in averages.items():
        evaluator.begin()
        nfe = 0
        for pixels, calls in sampler.batches(network, weights, samples, evaluation.batch, pause):
            nfe = calls
            evaluator.see(pixels)
            if not rows and sum(map(len, previews)) < evaluation.previews:
                previews.append(pixels.cpu().numpy())
        identity = {
            "images": images,
            "ema": label,
            "solver": sampler.solver.name,
            "solver_settings": sampler.solver.settings(),
            "solver_error": error,
            "nfe": nfe,
            "guidance": candidate.guidance.describe(),
            **_labels(sampler, evaluation),
            "quantisation": QUANTISATION if autoencoder is None else autoencoder.describe(QUANTISATION),
        }
        rows += [{**identity, **value} for value in evaluator.values(samples)]
    if not previews:
        return rows, np.zeros((0, *measured_spec(autoencoder, setting).shape), np.uint8)
    return rows, np.concatenate(previews)[: evaluation.previews]


def _labels(sampler: Sampler, evaluation: Evaluation) -> dict[str, str]:
    """Return how labels or conditions of the samples were drawn, where it is not the usual way."""
    if sampler.of_the_reference:
        return {"labels": "reference"}
    return {} if evaluation.labels == "balanced" else {"labels": evaluation.labels}


def _solver_error(sampler: Sampler, process: Process, latents: bool) -> float | None:
    """Return the solver's own relative error of the standard deviation of Gaussian samples; None where not known.

    Of the deviation that `ablate plan` warns by: the candidate's `sigma_data`, else that of latents, or 0.5 of pixels.
    """
    candidate = sampler.candidate
    if candidate.jumps:
        return None
    deviation = candidate.sigma_data or (process.sigma_data if latents else DEVIATION)
    try:
        return deviation_error(sampler.solver, candidate.schedule, deviation)
    except Exception:  # noqa: BLE001 - a plugin's own code: its samples tell what is wrong with it
        return None
