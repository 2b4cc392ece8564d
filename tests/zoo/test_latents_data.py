"""Latents in each form in which users have them, and what the network then sees."""

import numpy as np
import pytest
import torch
from data_for_tests import LATENT, latents, write_edm2
from pictures_for_tests import noise
from safetensors.numpy import save_file
from segments_for_tests import PLUGIN

from ablate.api import InputError, InputSpec
from ablate.evaluation.decoding import decoder
from ablate.runtime.randomness import RandomStreams
from ablate.study.load import load_study
from ablate.training.images import Images
from ablate_zoo.data.latents import Latents

CPU = torch.device("cpu")
COUNT = 30
LABELS = np.array([i % 3 for i in range(COUNT)])
SHIFT, SCALE = (0.5, -1.0), (0.25, 2.0)


@pytest.fixture
def reference(tmp_path):
    np.savez(tmp_path / "held_out.npz", images=noise(9, size=16), labels=np.arange(9) % 3)
    return str(tmp_path / "held_out.npz")


def write(folder, z, labels=LABELS, form="pairs", **more):
    """The folder or file, as fast-DiT, a bare array or LightningDiT leave it."""
    folder.mkdir(parents=True, exist_ok=True)
    if form == "pairs":
        for i, (one, label) in enumerate(zip(z, labels, strict=True)):
            for kind, value in (("features", one[None]), ("labels", np.array([label]))):
                (folder / f"imagenet256_{kind}").mkdir(exist_ok=True)
                np.save(folder / f"imagenet256_{kind}" / f"{i}.npy", value)
        return folder
    if form == "whole":
        np.save(folder / "z.npy", z)
        return folder / "z.npy"
    for shard, part in enumerate((slice(0, 12), slice(12, None))):
        tensors = {"latents": z[part], "labels": labels[part], **{name: v[part] for name, v in more.items()}}
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / f"shard{shard:03d}.safetensors")
    return folder


def seen(made, number=None):
    images = Images(made, CPU)
    draws = () if number is None else (RandomStreams(0, CPU), number)
    return images.take(torch.arange(len(images)), *draws)


@pytest.mark.parametrize("form", ["pairs", "whole", "shards"])
def test_the_network_sees_shifted_and_scaled_latents_and_the_decoder_sees_them_raw(tmp_path, reference, form):
    z = latents(COUNT)
    path = str(write(tmp_path / form, z, form=form))
    data = Latents(path=path, reference=reference, shift=SHIFT, scale=SCALE)
    assert data.setting() == InputSpec(LATENT, None if form == "whole" else 3)
    made = data.load(tmp_path / "cache")
    assert made.labels is None if form == "whole" else np.array_equal(made.labels, LABELS)
    assert made.reference_images.shape == (9, 3, 16, 16) and made.reference_images.dtype == np.uint8
    x = seen(made)
    wanted = (z - np.reshape(SHIFT, (2, 1, 1))) * np.reshape(SCALE, (2, 1, 1))
    assert np.allclose(x.numpy(), wanted, atol=1e-5)
    assert np.allclose(decoder(None, made.encoding, CPU)(x).numpy(), z, atol=1e-5)
    assert Images(made, CPU).sigma_data == pytest.approx(np.sqrt(np.square(wanted).mean()), rel=1e-3)
    # As fast-DiT stores them, scaled already: the network sees them as they lie, the decoder raw again.
    stored = str(write(tmp_path / "scaled", wanted.astype(np.float32), form=form))
    again = Latents(path=stored, reference=reference, shift=SHIFT, scale=SCALE, normalised=True).load(
        tmp_path / "cache"
    )
    assert torch.allclose(seen(again), x, atol=1e-6)
    assert np.allclose(decoder(None, again.encoding, CPU)(seen(again)).numpy(), z, atol=1e-5)


def test_mean_and_deviation_are_drawn_from_anew_each_time(tmp_path, reference):
    mean = latents(COUNT, (2, 32, 32))
    file = write_edm2(tmp_path / "z.zip", mean, LABELS.tolist(), deviation=0.5)
    data = Latents(path=str(file), reference=reference, stored="mean_std", scale=SCALE)
    made = data.load(tmp_path / "cache")
    assert data.setting() == InputSpec((2, 32, 32), 3) and made.images.shape == (COUNT, 4, 32, 32)
    scale = torch.tensor(SCALE)[:, None, None]
    assert torch.allclose(seen(made), torch.from_numpy(mean) * scale, atol=1e-5)  # without draws, the mean
    one, again, other = seen(made, 1), seen(made, 1), seen(made, 2)
    assert torch.equal(one, again) and not torch.equal(one, other)
    deviations = (one - other).std((0, 2, 3)) / 2**0.5
    assert torch.allclose(deviations, 0.5 * torch.tensor(SCALE), rtol=0.02)  # of 30,720 values each
    assert Images(made, CPU).sigma_data == pytest.approx(float(one.std()), rel=0.02)


def test_mirrored_latents_are_those_of_the_mirrored_images(tmp_path, reference):
    z, flipped = latents(COUNT), latents(COUNT, seed=1)
    path = str(write(tmp_path / "shards", z, form="shards", latents_flip=flipped))
    made = Latents(path=path, reference=reference, flip="stored", scale=1.0).load(tmp_path / "cache")
    drawn = seen(made, 3)
    from_plain, from_mirrored = ((drawn == torch.from_numpy(values)).flatten(1).all(1) for values in (z, flipped))
    assert torch.equal(from_plain, ~from_mirrored) and 6 <= int(from_plain.sum()) <= 24
    approximate = Latents(path=path, reference=reference, flip="mirror", scale=1.0).load(tmp_path / "cache")
    mirrored = (seen(approximate, 3) == torch.from_numpy(z).flip(-1)).flatten(1).all(1)
    assert torch.equal(mirrored, from_mirrored)  # the same draws


def test_statistics_from_a_file_and_measured(tmp_path, reference):
    z = latents(COUNT, (2, 16, 16))
    path = write(tmp_path / "shards", z, form="shards")
    measured = Latents(path=str(path), reference=reference, statistics="measured", scale=0.5)
    x = seen(measured.load(tmp_path / "cache"))
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(2), atol=1e-4)
    assert torch.allclose(x.std((0, 2, 3)), torch.full((2,), 0.5), rtol=1e-3)
    given = Latents(path=str(path), reference=reference, statistics="file", scale=0.5)
    with pytest.raises(InputError, match="no statistics file"):
        given.setting()
    statistics = {"mean": z.mean((0, 2, 3)).reshape(1, 2, 1, 1), "std": z.std((0, 2, 3)).reshape(1, 2, 1, 1)}
    save_file(statistics, path / "latents_stats.safetensors")
    assert torch.allclose(seen(given.load(tmp_path / "cache")), x, atol=1e-4)


def test_half_precision_stays_half_in_the_cache(tmp_path, reference):
    path = str(write(tmp_path / "pairs", latents(COUNT).astype(np.float16)))
    made = Latents(path=path, reference=reference).load(tmp_path / "cache")
    assert made.images.dtype == np.float16 and seen(made).dtype == torch.float32


def test_wrong_latents_are_told(tmp_path, reference):
    z = latents(COUNT)
    pairs = str(write(tmp_path / "pairs", z))
    odd = latents(COUNT, (3, 4, 4))
    whole = {
        "odd": odd,
        "bytes": noise(COUNT),
        "flat": z.reshape(COUNT, -1),
        "single": z[:1],
    }
    for name, values in whole.items():
        write(tmp_path / name, values, form="whole")
    cases = [
        ({"path": str(tmp_path / "none")}, "no such folder"),
        ({"path": reference}, "a folder, a .zip, an .npy or a .safetensors"),
        ({"path": pairs, "reference": str(tmp_path / "none")}, "no such folder"),
        ({"path": pairs, "shift": (1.0, 2.0, 3.0)}, "shift has 3 values, and the latents 2 channels"),
        ({"path": pairs, "flip": "stored"}, "no latents_flip"),
        ({"path": str(tmp_path / "odd" / "z.npy"), "stored": "mean_std"}, "3 is odd"),
        ({"path": str(tmp_path / "bytes" / "z.npy")}, "not floats; are these pictures"),
        ({"path": str(tmp_path / "flat" / "z.npy")}, r"\(N, C, H, W\)"),
        ({"path": str(tmp_path / "single" / "z.npy")}, "one latent alone"),
    ]
    for options, told in cases:
        with pytest.raises(InputError, match=told):
            Latents(**{"reference": reference, **options}).setting()
    for name, values, options, told in (
        ("nan", np.where(np.arange(COUNT) == 7, np.nan, 1)[:, None, None, None] * z, {}, "not finite"),
        ("constant", z * np.array([1, 0])[:, None, None], {}, "a channel of the latents is constant"),
        ("sampled", z, {"stored": "mean_std"}, "deviations below 0: are these samples"),
        ("beyond", z, {"classes": 2}, "a label is 2, beyond the 2 classes"),
    ):
        path = str(write(tmp_path / name, values.astype(np.float32)))
        with pytest.raises(InputError, match=told):
            Latents(path=path, reference=reference, **options).check(tmp_path / "cache")


def test_damaged_files_are_told(tmp_path, reference):
    path = write(tmp_path / "pairs", latents(COUNT))
    data = Latents(path=str(path), reference=reference)
    np.save(path / "imagenet256_features" / "5.npy", latents(1, (2, 5, 5)))
    with pytest.raises(InputError, match=r"5\.npy is \(2, 5, 5\)"):
        data.check(tmp_path / "cache")
    (path / "imagenet256_features" / "5.npy").write_bytes(b"\x93NUMPY no more")
    with pytest.raises(InputError, match=r"5\.npy is damaged"):
        data.check(tmp_path / "cache")
    np.save(path / "imagenet256_features" / "5.npy", latents(1))
    (path / "imagenet256_labels" / "6.npy").unlink()
    with pytest.raises(InputError, match=r"6\.npy cannot be read"):
        data.check(tmp_path / "cache")
    shards = write(tmp_path / "shards", latents(COUNT), form="shards")
    (shards / "shard001.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="no safetensors file"):
        Latents(path=str(shards), reference=reference).setting()
    save_file({"z": latents(2)}, shards / "shard001.safetensors")
    with pytest.raises(InputError, match="no tensor 'latents', only z"):
        Latents(path=str(shards), reference=reference).setting()


def test_pictures_that_are_not_those_behind_the_latents_are_told(tmp_path, reference):
    """Too many, in another order, of other classes, or of nothing that the latents show."""
    pictures = noise(COUNT, size=16)
    z = pictures.reshape(COUNT, 3, 4, 4, 4, 4).mean((3, 5)).astype(np.float32) / 64
    path = str(write(tmp_path / "shards", z, form="shards"))
    wrong = {
        "holds 29 pictures": (pictures[1:], None),
        "is of class 1 and its latent of class 0": (pictures, np.roll(LABELS, -1)),
        "do not look like": (np.roll(pictures, 3, 0), LABELS),
        "do not look like those": (noise(COUNT, size=16, seed=1), None),
    }
    for message, (shown, labels) in wrong.items():
        np.savez(tmp_path / "shown.npz", images=shown, **({} if labels is None else {"labels": labels}))
        data = Latents(path=path, reference=reference, pictures=str(tmp_path / "shown.npz"))
        with pytest.raises(InputError, match=message):
            data.load(tmp_path / "cache")
    np.savez(tmp_path / "shown.npz", images=pictures, labels=LABELS)
    plain, data = (Latents(path=path, reference=reference, pictures=p) for p in (None, str(tmp_path / "shown.npz")))
    made = data.load(tmp_path / "cache")
    assert np.array_equal(made.behind().images, pictures) and made.behind().shape == data.pictures_setting().shape
    assert made.hash != plain.load(tmp_path / "cache").hash and "pictures" not in plain.active()
    with pytest.raises(InputError, match="name them"):
        plain.load(tmp_path / "cache").behind()


def test_whether_samples_are_copies_is_measured_where_the_pictures_are_known(tmp_path, reference):
    path = write(tmp_path / "alone", np.zeros((COUNT, 4, 4, 4), np.float32), form="whole")
    spec = {
        "study": "copies",
        "question": "Copies?",
        "data": {"type": "latents", "path": str(path), "reference": reference},
        "base": {"backbone": "dit"},
        "design": "grid",
        "budget": {"steps": 2},
        "evaluate": {"metrics": [{"type": "memorisation", "features": "pixels"}]},
        "plugins": [PLUGIN],
        "objectives": ["loss"],
    }
    with pytest.raises(InputError, match=r"metric 'memorisation' needs 'pictures'.*name those that were encoded"):
        load_study(spec)
