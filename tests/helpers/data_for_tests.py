"""Small data sets and a small autoencoder on disk, made once a process, for components that ask for a path."""

import atexit
import functools
import gzip
import io
import json
import shutil
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from pictures_for_tests import noise, png, write_folder, write_zip

ROOT = Path(tempfile.mkdtemp(prefix="ablate-data-"))
atexit.register(shutil.rmtree, ROOT, ignore_errors=True)
COUNT, CLASSES = 24, 3
LABELS = [i % CLASSES for i in range(COUNT)]
LATENT = (2, 4, 4)

SPECS = {
    "data/folder": {"path": str(ROOT / "folder"), "labels": "folders", "reference": 8},
    "data/zip": {"path": str(ROOT / "set.zip"), "reference": 8},
    "data/npz": {"path": str(ROOT / "set.npz"), "reference": 8},
    "data/idx": {"path": str(ROOT / "idx"), "reference": 8},
    "data/hub": {"path": str(ROOT / "hub"), "reference": 8},
    "data/latents": {"path": str(ROOT / "latents.zip"), "reference": str(ROOT / "set.npz"), "stored": "mean_std"},
    "autoencoder/vae": {"path": str(ROOT / "vae")},
}


@functools.cache
def lay_out(kind):
    """Put everything where SPECS says it is."""
    if kind == "autoencoder":
        save_vae(ROOT / "vae")
    if kind == "data":
        images = noise(COUNT)
        write_folder(ROOT / "folder", images, [f"class{c}/{i}.png" for i, c in enumerate(LABELS)])
        write_zip(ROOT / "set.zip", images, LABELS)
        np.savez(ROOT / "set.npz", images.transpose(0, 2, 3, 1), np.array(LABELS))
        write_edm2(ROOT / "latents.zip", latents(), LABELS)
        write_idx(ROOT / "idx", noise(COUNT, channels=1)[:, 0], LABELS)
        write_hub(ROOT / "hub", images, LABELS)


def latents(count=COUNT, shape=LATENT, seed=0):
    """(N, C, H, W) float32."""
    return np.random.default_rng(seed).normal(0.3, 2.0, (count, *shape)).astype(np.float32)


def write_edm2(file, mean, labels, deviation=0.5):
    """Mean ‖ deviation, an npy each, in a zip with dataset.json."""
    pairs = []
    with zipfile.ZipFile(file, "w") as held:
        for i, (one, label) in enumerate(zip(mean, labels, strict=True)):
            content = io.BytesIO()
            np.save(content, np.concatenate([one, np.full_like(one, deviation)]))
            name = f"{i // 10:05d}/img-mean-std-{i:08d}.npy"
            held.writestr(name, content.getvalue())
            pairs.append([name, label])
        held.writestr("dataset.json", json.dumps({"labels": pairs}))
    return file


def write_idx(folder, images, labels, part="train"):
    """MNIST's own format, (N, H, W)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in (("images-idx3", images), ("labels-idx1", np.array(labels, dtype=np.uint8))):
        head = struct.pack(f">{1 + values.ndim}i", 0x0800 + values.ndim, *values.shape)
        (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    return folder


def write_hub(folder, images, labels, parquet=False, columns=None):
    """As `datasets` saves it, or a folder with a parquet file. columns: {name: texts or numbers} beside it."""
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image()})
    cells = {"image": [{"bytes": png(image), "path": None} for image in images], **(columns or {})}
    for name, values in (columns or {}).items():
        features[name] = datasets.Value("string" if isinstance(values[0], str) else "float32")
    if labels is not None:
        features["label"], cells["label"] = datasets.ClassLabel(num_classes=CLASSES), labels
    table = datasets.Dataset.from_dict(cells, features=features)
    if parquet:
        folder.mkdir(parents=True)
        table.to_parquet(folder / "train-00000.parquet")
    else:
        table.save_to_disk(folder)
    return folder


def small_vae(seed=0):
    """An AutoencoderKL of some thousand parameters that halves each side; random weights."""
    import torch
    from diffusers import AutoencoderKL

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoencoderKL(
            in_channels=3,
            out_channels=3,
            latent_channels=LATENT[0],
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            layers_per_block=1,
            norm_num_groups=4,
            sample_size=8,
        ).eval()


def save_vae(folder, seed=0):
    small_vae(seed).save_pretrained(folder)
    return folder
