"""Learners of a small DiT on two classes that are easy to tell apart."""

import torch

from ablate.api import InputSpec
from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog
from ablate.kinds.data import Dataset
from ablate.training.learner import Images, Learner

CPU = torch.device("cpu")
SETTING = InputSpec((1, 8, 8), 2)


def images() -> Images:
    """64 images whose left or right half is bright, by their label."""
    labels = torch.arange(64) % 2
    pixels = torch.randint(0, 60, (64, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    pixels[labels == 0, :, :, :4] += 190
    pixels[labels == 1, :, :, 4:] += 190
    pixels, held = pixels.to(torch.uint8).numpy(), labels.numpy()
    return Images(Dataset(pixels, held, pixels, held, 2, "0"), CPU)


def candidate(**parts):
    spec = {
        "backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2},
        "optimizer": {"type": "adamw", "lr": 1e-3},
        "solver": {"type": "ddim", "steps": 3},
        "target": "v",
        "batch": 8,
    }
    return compose({**spec, **parts}, catalog())


def learner(micro=None, **parts) -> Learner:
    return Learner(candidate(**parts), SETTING, images(), 0, CPU, micro)


def train(who: Learner, steps: int) -> Learner:
    who.network.train()
    for _ in range(steps):
        who.step(1000)
    return who


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
