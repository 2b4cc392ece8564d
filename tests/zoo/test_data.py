import gzip
import importlib.util
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from ablate.api import InputError, InputSpec
from ablate_zoo.data.digits import Digits
from ablate_zoo.data.mnist import Mnist


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def rows(images):
    return {image.tobytes() for image in images}


@pytest.mark.parametrize("data", [Mnist(), Mnist(size=16, reference=2000), Digits(), Digits(reference=37)])
def test_the_parts_are_whole_balanced_and_disjoint(data, cache):
    made = data.load(cache)
    assert data.setting() == InputSpec((1, data.size, data.size), 10)
    assert made.images.dtype == made.reference_images.dtype == np.uint8
    assert made.labels.dtype == made.reference_labels.dtype == np.int64
    assert made.images.shape == (data.count - data.reference, 1, data.size, data.size)
    assert made.reference_images.shape == (data.reference, 1, data.size, data.size)
    assert np.ptp(np.bincount(made.reference_labels, minlength=10)) <= 1
    assert np.ptp(np.bincount(made.labels[:600], minlength=10)) <= 1 + (data.reference % 10 > 0)
    assert len(rows(made.images) | rows(made.reference_images)) == data.count  # no image stands in both


def test_pixels_and_labels_are_those_of_the_package(cache):
    sklearn = pytest.importorskip("sklearn.datasets")
    theirs = sklearn.load_digits()
    made = Digits(reference=500).load(cache)
    ours = {
        image.tobytes(): label
        for image, label in zip(
            np.concatenate([made.images, made.reference_images]),
            np.concatenate([made.labels, made.reference_labels]),
            strict=True,
        )
    }
    for image, label in zip(np.rint(theirs.images * 255 / 16).astype(np.uint8), theirs.target, strict=True):
        assert ours[image.tobytes()] == label


def test_mnist_rows_are_those_of_the_csv(cache):
    with gzip.open(Mnist()._source(), "rt") as file:
        first = np.array(next(file).split(","), dtype=np.uint8)
    made = Mnist().load(cache)
    at = [i for i, image in enumerate(made.images) if image.tobytes() == first[:-1].tobytes()]
    at_reference = [i for i, image in enumerate(made.reference_images) if image.tobytes() == first[:-1].tobytes()]
    assert [*made.labels[at], *made.reference_labels[at_reference]] == [first[-1]]


def test_the_held_out_images_depend_on_nothing_but_the_images(cache, tmp_path):
    small, large = Digits(reference=100).load(cache), Digits(reference=1000).load(tmp_path)
    assert rows(small.reference_images) < rows(large.reference_images)
    resized = Digits(reference=100, size=16).load(cache)
    assert np.array_equal(resized.labels, small.labels)
    # doubling 8×8 by bilinear interpolation keeps the mean of each image but for its border
    means = [x.reshape(len(x), -1).mean(1) for x in (small.images.astype(float), resized.images.astype(float))]
    assert np.corrcoef(*means)[0, 1] > 0.999


def test_the_hash_is_that_of_the_content(cache, tmp_path):
    first, again = Digits().load(cache), Digits().load(tmp_path)
    assert first.hash == again.hash
    assert np.array_equal(first.images, again.images)
    assert len({first.hash, Digits(reference=501).load(cache).hash, Digits(size=9).load(cache).hash}) == 3


def test_downsizing_is_antialiased(cache):
    full, half = Mnist().load(cache), Mnist(size=14).load(cache)
    # The triangle filter of width four averages 2×2 blocks and some of their surroundings: means
    # agree, and a one-pixel stroke survives, which point sampling would drop or keep whole.
    assert np.allclose(full.images.mean((1, 2, 3)), half.images.mean((1, 2, 3)), atol=0.5)
    blocks = full.images.reshape(-1, 14, 2, 14, 2).mean((2, 4))
    assert np.corrcoef(blocks.ravel(), half.images.ravel())[0, 1] > 0.96


def test_a_damaged_cache_is_made_anew(tmp_path):
    good = Digits().load(tmp_path)
    (kept,) = (tmp_path / "digits").iterdir()
    content = kept.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    for bad in (b"", content[:1000], b"no zip at all", bytes(flipped)):
        kept.write_bytes(bad)
        assert Digits().load(tmp_path).hash == good.hash
        assert kept.read_bytes() == content


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert Digits().load(tmp_path / "file").hash == Digits().load(tmp_path).hash


def load_hash(cache):
    return Digits().load(cache).hash


def test_workers_that_load_at_once_agree(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(load_hash, [tmp_path] * 8))) == 1
    assert [p.suffix for p in (tmp_path / "digits").iterdir()] == [".npz"]  # nothing temporary is left


class Absent(Digits):
    """As digits, of a package that nobody has."""

    name = "absent"
    package = "ablate_no_such_package"
    install = 'pip install "ablate[absent]"'


def test_a_missing_package_is_told_with_the_command_that_brings_it(tmp_path):
    for call in (Absent().setting, lambda: Absent().load(tmp_path)):
        with pytest.raises(InputError, match=r'pip install "ablate\[absent\]"'):
            call()


def test_a_damaged_source_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "ablate_damaged_digits" / "datasets" / "data"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()

    class Damaged(Digits):
        name = "damaged"
        package = "ablate_damaged_digits"

    content = Digits()._source().read_bytes()
    text = gzip.decompress(content)
    for bad in (content[:-100], b"plain", gzip.compress(text[:-200]), gzip.compress(text.replace(b"16", b"17"))):
        (folder / "digits.csv.gz").write_bytes(bad)
        with pytest.raises(InputError, match="damaged"):
            Damaged().load(tmp_path / "cache")


def test_bounds_leave_something_to_train_on():
    for bad in ({"reference": 4001}, {"reference": 9}, {"size": 3}):
        with pytest.raises(ValidationError):
            Mnist(**bad)
    assert "labels" in Mnist().provides()


def test_the_packages_that_bring_the_images_are_not_imported(tmp_path):
    code = (
        "import sys; from pathlib import Path; from ablate_zoo.data.digits import Digits;"
        "from ablate_zoo.data.mnist import Mnist; Mnist().setting(); Digits().load(Path(sys.argv[1]));"
        "print([m for m in ('sklearn', 'mlxtend', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert Path(Mnist()._source()).name == "mnist_5k.csv.gz"
