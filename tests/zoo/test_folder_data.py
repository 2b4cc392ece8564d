"""Data of pictures: one split, one hash and the same batches, wherever the pictures lie."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from data_for_tests import write_hub, write_idx
from pictures_for_tests import noise, png, write_folder, write_zip

from ablate.api import InputError, InputSpec
from ablate.runtime.randomness import RandomStreams
from ablate.training.images import Images
from ablate_zoo.data._pictures import FileData
from ablate_zoo.data.folder import FolderData
from ablate_zoo.data.hub import Hub
from ablate_zoo.data.idx import Idx
from ablate_zoo.data.npz import Npz
from ablate_zoo.data.zip import Zip

CPU = torch.device("cpu")
COUNT, HELD = 40, 12
LABELS = [i % 3 for i in range(COUNT)]


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "set", noise(COUNT))


def parts(made):
    return made.images, made.labels, made.reference_images, made.reference_labels


def rows(images):
    return {image.tobytes() for image in images}


def test_one_set_is_one_whatever_holds_it(tmp_path):
    images = noise(COUNT)
    order = np.random.default_rng(1).permutation(COUNT)  # names and order do not matter
    shuffled, labels = images[order], [LABELS[i] for i in order]
    names = [f"{'abc'[c]}/{i}.png" for i, c in enumerate(LABELS)]
    np.savez(tmp_path / "set.npz", shuffled.transpose(0, 2, 3, 1), np.array(labels))
    every = [
        FolderData(path=str(write_folder(tmp_path / "set", images, names)), labels="folders", reference=HELD),
        Zip(path=str(write_zip(tmp_path / "set.zip", shuffled, labels)), reference=HELD),
        Npz(path=str(tmp_path / "set.npz"), reference=HELD),
        Hub(path=str(write_hub(tmp_path / "saved", images, LABELS)), reference=HELD),
        Hub(path=str(write_hub(tmp_path / "parquet", shuffled, labels, parquet=True)), reference=HELD),
    ]
    first = every[0].load(tmp_path / "cache")
    assert first.images.shape == (COUNT - HELD, 3, 8, 8) and first.reference_images.shape == (HELD, 3, 8, 8)
    assert rows(first.images) | rows(first.reference_images) == rows(images)
    by_pixels = {image.tobytes(): label for image, label in zip(images, LABELS, strict=True)}
    assert [by_pixels[image.tobytes()] for image in first.images] == first.labels.tolist()
    for data in every:
        made = data.load(tmp_path / "cache")
        assert data.setting() == InputSpec((3, 8, 8), 3) and "labels" in data.provides()
        assert made.hash == first.hash
        assert all(np.array_equal(a, b) for a, b in zip(parts(made), parts(first), strict=True))


def test_idx_is_the_format_of_mnist(tmp_path):
    images = noise(COUNT, channels=1)
    data = Idx(path=str(write_idx(tmp_path, images[:, 0], LABELS)), reference=HELD)
    made = data.load(tmp_path / "cache")
    assert rows(made.images) | rows(made.reference_images) == rows(images) and made.classes == 3
    file = tmp_path / "train-images-idx3-ubyte.gz"
    content = file.read_bytes()
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(content)
    with pytest.raises(InputError, match="another header"):
        data.load(tmp_path / "cache")
    file.write_bytes(content[:-9])
    with pytest.raises(InputError, match="damaged"):
        data.load(tmp_path / "cache")
    with pytest.raises(InputError, match="apt install dataset-fashion-mnist"):
        Idx(path=str(tmp_path / "nowhere")).setting()


FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist_as_debian_ships_it(tmp_path):
    made = Idx(part="t10k", size=None).load(tmp_path)
    assert made.images.shape == (9000, 1, 28, 28) and set(made.labels) == set(range(10))


def test_no_copy_of_a_held_out_picture_is_trained_on(tmp_path):
    images = np.repeat(noise(10), 3, axis=0)
    made = FolderData(path=str(write_folder(tmp_path / "set", images)), reference=4).load(tmp_path / "cache")
    assert len(made.reference_images) == 4 and not rows(made.images) & rows(made.reference_images)
    assert len(made.images) == 24  # two of the held-out pictures' six copies were needed for the fourth
    (tmp_path / "same").mkdir()
    copies = write_folder(tmp_path / "same", noise(1).repeat(9, axis=0))
    with pytest.raises(InputError, match="copies of one"):
        FolderData(path=str(copies), reference=3).load(tmp_path / "c")


def test_a_larger_reference_holds_the_smaller_one(folder, tmp_path):
    small, large = (FolderData(path=str(folder), reference=n).load(tmp_path / "cache") for n in (5, 20))
    assert rows(small.reference_images) < rows(large.reference_images)
    assert small.hash != large.hash


def test_options_change_the_images(folder, tmp_path):
    def load(**options):
        return FolderData(path=str(folder), reference=HELD, **options).load(tmp_path / "cache")

    grey, large, few = load(colour="grey"), load(size=12, resize="stretch"), load(limit=20)
    assert grey.images.shape[1:] == (1, 8, 8) and large.images.shape[1:] == (3, 12, 12)
    assert len(few.images) + len(few.reference_images) == 20
    assert len({load().hash, grey.hash, large.hash, few.hash}) == 4
    assert FolderData(path="x").digest() == FolderData(path="x", resize="stretch").digest()  # read only with a size
    assert FolderData(path="x", size=8).digest() != FolderData(path="x", size=8, resize="stretch").digest()


def test_batches_do_not_depend_on_where_the_images_lie(folder, tmp_path):
    made = FolderData(path=str(folder), reference=HELD, flip=True).load(tmp_path / "cache")
    held, mapped = Images(made, CPU), Images(made, CPU, resident=0)
    assert np.shares_memory(mapped.stored.numpy(), made.images) and isinstance(made.images, np.memmap)
    assert not np.shares_memory(held.stored.numpy(), made.images)
    assert held.sigma_data == mapped.sigma_data
    for number in range(3):
        index = RandomStreams(0, CPU).order(16 * number, 16, len(held))
        one, other = (images.take(index, RandomStreams(0, CPU), number) for images in (held, mapped))
        assert torch.equal(one, other)


def test_half_of_what_is_drawn_is_mirrored_and_the_draws_decide_which(folder, tmp_path):
    made = FolderData(path=str(folder), reference=HELD, flip=True).load(tmp_path / "cache")
    images, index = Images(made, CPU), torch.arange(COUNT - HELD).repeat(20)
    plain = images.take(index)
    assert torch.equal(plain[: COUNT - HELD], torch.from_numpy(made.images.copy()).float() / 127.5 - 1)
    drawn = images.take(index, RandomStreams(0, CPU), 7)
    same = (drawn == plain).flatten(1).all(1)
    assert torch.equal(drawn[~same], plain[~same].flip(-1))
    assert abs(float(same.float().mean()) - 0.5) < 0.1  # four standard errors
    assert torch.equal(drawn, images.take(index, RandomStreams(0, CPU), 7))
    assert not torch.equal(drawn, images.take(index, RandomStreams(0, CPU), 8))
    assert not torch.equal(drawn, images.take(index, RandomStreams(1, CPU), 7))
    never = Images(FolderData(path=str(folder), reference=HELD).load(tmp_path / "cache"), CPU)
    assert torch.equal(never.take(index, RandomStreams(0, CPU), 7), plain)


def test_damaged_pictures_are_left_out_only_where_that_is_said(folder, tmp_path):
    (folder / "00004.png").write_bytes(png(noise()[0])[:50])
    with pytest.raises(InputError, match=r"00004\.png .*other 39 are fine"):
        FolderData(path=str(folder), reference=HELD).check(tmp_path / "cache")
    assert not [p for p in (tmp_path / "cache" / "data").iterdir() if p.is_dir()]  # nothing half made
    made = FolderData(path=str(folder), reference=HELD, skip_corrupt=True).load(tmp_path / "cache")
    assert len(made.images) == COUNT - 1 - HELD
    (facts,) = (tmp_path / "cache" / "data").glob("*/facts.json")
    assert list(json.loads(facts.read_text())["skipped"]) == ["00004.png"]


def test_a_reference_leaves_something_to_train_on(folder):
    with pytest.raises(InputError, match=r"40 of 40 pictures cannot be held out.*say reference: 8, and 38 at most"):
        FolderData(path=str(folder), reference=40).setting()


# --- what is kept --------------------------------------------------------------------------------


def test_the_cache_is_made_once_and_made_anew_where_it_is_damaged(folder, tmp_path):
    data = FolderData(path=str(folder), reference=HELD)
    first = data.load(tmp_path / "cache")
    images = first.images.copy()  # the file below it is about to be cut short
    (made,) = (p for p in (tmp_path / "cache" / "data").iterdir() if p.is_dir())
    time = (made / "images.npy").stat().st_mtime_ns
    again = data.load(tmp_path / "cache")
    again.images[:] = 0  # in memory alone
    assert (made / "images.npy").stat().st_mtime_ns == time
    for damage in (
        lambda: os.truncate(made / "images.npy", 300),
        (made / "facts.json").unlink,
        lambda: (made / "facts.json").write_text("{"),
    ):
        (tmp_path / "cache" / "data" / f".{made.name.split('-')[0]}.left.tmp").mkdir()
        damage()
        new = data.load(tmp_path / "cache")
        assert new.hash == first.hash and np.array_equal(new.images, images)
        assert not list((tmp_path / "cache" / "data").glob("*.tmp"))
    (folder / "00000.png").write_bytes(png(noise(seed=5)[0]))
    assert data.load(tmp_path / "cache").hash != first.hash


def test_workers_that_come_at_once_wait_for_the_first(folder, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(FolderData, "_make", lambda *given: made.append(1) or FileData._make(*given))
    data = FolderData(path=str(folder), reference=HELD)
    with ThreadPoolExecutor(3) as pool:  # the lock is of an open file: threads wait as processes do
        assert len({one.hash for one in pool.map(data.load, [tmp_path / "cache"] * 6)}) == 1
    assert made == [1] and len([p for p in (tmp_path / "cache" / "data").iterdir() if p.is_dir()]) == 1


# --- kinds of source that are taken for one another ----------------------------------------------


def test_the_wrong_type_is_told(folder, tmp_path):
    file = write_zip(tmp_path / "a.zip", noise(4))
    np.savez(tmp_path / "a.npz", noise(4))
    for data, told in (
        (FolderData(path=str(file)), "say type: zip"),
        (Zip(path=str(folder)), "is it type: folder"),
        (Zip(path=str(tmp_path / "a.npz")), "is it type: npz"),
        (Npz(path=str(file)), "is it type: zip"),
        (Hub(path=str(folder), label="kind"), "no column|does not give"),
        (Zip(path=str(tmp_path / "b.zip")), "there is no such"),
    ):
        with pytest.raises(InputError, match=told):
            data.setting()
        assert data.provides() == frozenset()


def test_columns_of_a_hub_set_are_told(tmp_path):
    path = str(write_hub(tmp_path / "saved", noise(12), [0] * 12))
    for options, told in (
        ({"label": "kind"}, "no column 'kind', only image, label"),
        ({"image": "label"}, "no images"),
    ):
        with pytest.raises(InputError, match=told):
            Hub(path=path, **options).setting()
    assert Hub(path=path, label=None, reference=4).setting().classes is None


def test_a_missing_datasets_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(InputError, match=r'pip install "ablate\[hub\]"'):
        Hub(path=str(tmp_path)).setting()
