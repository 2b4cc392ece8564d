"""Sets of small pictures, as users bring them."""

import io
import json
import zipfile

import numpy as np
from PIL import Image


def noise(count=12, channels=3, size=8, seed=0):
    """(N, C, H, W) uint8, all different."""
    return np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), dtype=np.uint8)


def waves(count, seed):
    """(N, 1, 16, 16) uint8, smooth, each with another phase."""
    places = np.arange(16) / 16
    phases = np.random.default_rng(seed).uniform(0, 6.28, (count, 1, 1, 1))
    return (127 + 120 * np.sin(3 * (places[:, None] + places[None, :]) + phases)).astype(np.uint8)


def png(pixels, kind="PNG", **options):
    """One picture (C, H, W) as the bytes of a file."""
    content = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(content, kind, **options)
    return content.getvalue()


def write_folder(folder, images, names=None):
    for i, image in enumerate(images):
        file = folder / (names[i] if names else f"{i:05d}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(image))
    return folder


def write_zip(file, images, labels=None, names=None, more=()):
    """EDM's layout; `labels` None: there is no dataset.json, `False`: it says null."""
    names = names or [f"{i // 5:05d}/img{i:08d}.png" for i in range(len(images))]
    with zipfile.ZipFile(file, "w") as held:
        for name, image in zip(names, images, strict=True):
            held.writestr(name, png(image))
        if labels is not None:
            pairs = [[n, int(c)] for n, c in zip(names, labels, strict=False)] if labels is not False else None
            held.writestr("dataset.json", json.dumps({"labels": pairs}))
        for name, content in more:
            held.writestr(name, content)
    return file


def whole(pictures):
    """All pixels and labels."""
    parts = list(pictures.batches(5))
    labels = [part[1] for part in parts]
    return np.concatenate([part[0] for part in parts]), None if labels[0] is None else np.concatenate(labels)
