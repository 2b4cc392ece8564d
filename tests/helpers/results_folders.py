"""Studies' folders of the documented format, as the engine leaves them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

METRIC = "kid_efficientnet_lite0"


def write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, allow_nan=False))


def config_hash(choices: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()


def measurement(metric: str, value: float | None, images: int, **identity: Any) -> dict[str, Any]:
    return {
        "images": images,
        "ema": "constant(0.999)",
        "solver": "ddim",
        "nfe": 50,
        "guidance": "cfg(1.5)",
        "metric": metric,
        "features": metric.partition("_")[2],
        "samples": 2000,
        "value": value,
        "error": 0.002,
        "features_hash": "f" * 64,
        "reference_hash": "a" * 64,
        "quantisation": "round",
        **identity,
    }


class Study:
    """Writes a folder step by step; every method returns the trial's own folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def head(self, lock: Mapping[str, Any] | None = None, vary: Mapping[str, Any] | None = None, **more: Any) -> Study:
        write(
            self.path / "lock.json",
            {
                "study": "conditioning",
                "objectives": ["kid", "gflops"],
                "metrics": {"kid": METRIC, "fd": "fd_efficientnet_lite0"},
                "baseline": {"backbone.conditioning": "adaln_zero"},
                **(lock or {}),
            },
        )
        body = {"study": "conditioning", "question": "How should time and class enter a DiT block?", "vary": vary or {}}
        (self.path / "study.yaml").write_text(json.dumps({**body, **more}))  # JSON is YAML
        return self

    def trial(
        self,
        choices: Mapping[str, Any],
        seed: int,
        values: Mapping[str, float | None] | None = None,
        state: str = "complete",
        curve: Sequence[tuple[float, float]] = (),
        samples: np.ndarray | None = None,
        identity: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Path:
        digest = config_hash(choices)
        name = f"{digest[:12]}-s{seed}"
        folder = self.path / "trials" / name
        job = {"trial": name, "config_hash": digest, "seed": seed, "choices": dict(choices)}
        write(folder / "job.json", job)
        rows = [measurement(m, v, 200_000, **(identity or {})) for m, v in (values or {}).items()]
        common = {"schema": 1, **job, "params": 1_200_000, "gflops": 0.5, "macs": 500_000_000}
        if state in ("complete", "diverged"):
            stop = {"step": 1200, "images": 76_800, "module": "blocks.3.attention", "message": "loss is nan"}
            record = {
                **common,
                "state": state,
                "images": 200_000 if state == "complete" else 76_800,
                "seconds": 61.5,
                "train_seconds": 50.0,
                "evaluate_seconds": 9.0,
                "peak_memory_bytes": None,
                "device": "cpu",
                "versions": {"ablate": "0.1.0", "torch": "2.13.0"},
                "metrics": rows,
                "divergence": stop if state == "diverged" else None,
            }
            write(folder / "record.json", {**record, **fields})
        elif state == "failed":
            failed = {
                **common,
                "state": "failed",
                "class": "oom",
                "message": "out of memory",
                "traceback": "…",
                "attempts": 2,
            }
            write(folder / "failure.json", {**failed, **fields})
        if len(curve):
            points = [
                {
                    "images": int(x),
                    "loss": y,
                    "lr": 1e-3,
                    "grad_norm": 1.0,
                    "images_per_second": 500.0,
                    "seconds": x / 500,
                }
                for x, y in curve
            ]
            write(folder / "curve.json", points)
        if samples is not None:
            np.save(folder / "samples.npy", samples)
        return folder


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "conditioning")


def blobs(seed: int, blur: float, n: int = 16, side: int = 32, channels: int = 1) -> np.ndarray:
    """Strokes that look a little like digits: the same for one seed, noisier with more `blur`. uint8 (N, C, H, W)."""
    rng = np.random.default_rng(seed)
    grid = np.mgrid[0:side, 0:side] / side
    images = np.zeros((n, side, side))
    for image in images:
        steps = np.cumsum(rng.normal(0, 0.09, (14, 2)), axis=0) * 0.9 + rng.uniform(0.35, 0.65, 2)
        for y, x in steps:
            image += np.exp(-((grid[0] - y) ** 2 + (grid[1] - x) ** 2) / 0.004)
    images = np.clip(images, 0, 1) + rng.normal(0, blur, images.shape)
    return np.repeat((np.clip(images, 0, 1) * 255).astype(np.uint8)[:, None], channels, axis=1)


@pytest.fixture
def conditioning(study: Study) -> Study:
    """Four conditionings, three seeds each, like the study of the documentation; one seed diverged."""
    return fill_conditioning(study)


def fill_conditioning(study: Study, seeds: int = 3, diverge: bool = True) -> Study:
    names = ["in_context", "cross_attention", "adaln", "adaln_zero"]
    quality = {"in_context": 0.082, "cross_attention": 0.061, "adaln": 0.047, "adaln_zero": 0.0415}
    gflops = {"in_context": 0.4571, "cross_attention": 0.5293, "adaln": 0.4493, "adaln_zero": 0.4502}
    params = {"in_context": 2_790_000, "cross_attention": 3_720_000, "adaln": 3_690_000, "adaln_zero": 4_160_000}
    study.head(vary={"backbone.conditioning": names})
    for place, name in enumerate(names):
        for seed in range(seeds):
            rng = np.random.default_rng(100 * place + seed)
            shared = np.random.default_rng(seed).normal(0, 0.003)  # paired seeds move together
            kid = quality[name] + shared + rng.normal(0, 0.002)
            lost = diverge and name == "in_context" and seed == 2
            images = np.arange(2_000, 80_000 if lost else 200_001, 2_000)
            level = 0.035 + quality[name] * 0.25
            loss = level + 0.4 * np.exp(-images / 9_000) + rng.normal(0, 0.0012, len(images))
            if lost:
                loss[-3:] = loss[-4] * np.array([1.3, 2.4, 9.0])
            study.trial(
                {"backbone.conditioning": name},
                seed,
                {METRIC: kid, "fd_efficientnet_lite0": 900 * kid + 110 + rng.normal(0, 3)},
                state="diverged" if lost else "complete",
                curve=list(zip(images, loss, strict=True)),
                samples=None if lost else blobs(seed, quality[name]),
                gflops=gflops[name],
                params=params[name],
                seconds=60 + 10 * rng.random(),
            )
    return study
