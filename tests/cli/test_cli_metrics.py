"""`ablate metrics`: the numbers of a study for two sets of pictures, and every way in which they cannot be had."""

import io
import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import HERE, ablate
from pictures_for_tests import noise, png, write_folder, write_zip

from ablate.discovery.catalog import catalog
from ablate.evaluation.metric_evaluator import MetricEvaluator
from ablate.kinds.data import Dataset

TINY = HERE / "plugins" / "tiny.py"
PIXELS = ("--plugin", TINY, "--features", "pixels", "--device", "cpu")


@pytest.fixture
def sets(tmp_path):
    """Two folders of 40 and 30 small grey pictures."""
    real, generated = noise(40, 1, 8), noise(30, 1, 8, seed=1) // 2 + 60
    write_folder(tmp_path / "real", real)
    write_folder(tmp_path / "made", generated)
    return tmp_path, real, generated


@pytest.fixture
def measure(within, tmp_path):
    """The command, in this process, in a folder of its own."""
    return lambda *words: within("metrics", *words, *PIXELS, cwd=tmp_path)


def test_folder_zip_and_npz_give_the_numbers_of_a_study(sets, measure):
    place, real, generated = sets
    np.savez(place / "real.npz", real.transpose(0, 2, 3, 1))
    write_zip(place / "made.zip", generated)
    words = [word for name in ("fd", "kid", "precision_recall") for word in ("--metric", name)]
    documents = {}
    for pair in (("real", "made"), ("real.npz", "made.zip")):
        ended = measure(*pair, *words, "--json")
        assert ended.returncode == 0, ended.stderr
        documents[pair] = json.loads(ended.stdout)
    rows = [documents[pair]["metrics"] for pair in documents]
    assert rows[0] == rows[1]  # the same pixels are the same reference, in whatever they lie
    components = catalog((str(TINY),))
    names = ("fd", "kid", "precision_recall")
    metrics = [components.create("metric", {"type": name, "features": "pixels"}) for name in names]
    judge = MetricEvaluator(metrics, Dataset(real[:0], None, real, None, None, "x"), place / "own", torch.device("cpu"))
    judge.see(torch.from_numpy(generated))
    for row, own in zip(rows[0], judge.values(30), strict=True):
        assert row["value"] == pytest.approx(own["value"], rel=1e-12) and row["metric"] == own["metric"]
        assert row["samples"] == 30 and row["features_hash"] == own["features_hash"]
    output = measure("real", "made", "--samples", "20").stdout
    assert "fd_pixels" in output and "20 of 8×8 in grey" in output


def test_the_default_is_there_without_a_plugin(sets):
    place, _, _ = sets
    ended = ablate("metrics", "real", "made", "--device", "cpu", cwd=place, ABLATE_CACHE=str(place / "cache"))
    assert ended.returncode == 0 and ended.stderr == ""
    assert "fd_efficientnet_lite0" in ended.stdout and "kid_efficientnet_lite0" in ended.stdout


class Canary:
    """Leaves a file behind if anyone unpickles it."""

    def __reduce__(self):
        return os.mkdir, ("code-was-run",)


def corrupt(place):
    (place / "made" / "00003.png").write_bytes(png(noise(1, 1, 8)[0])[:40])


def mixed_sizes(place):
    (place / "made" / "00003.png").write_bytes(png(noise(1, 1, 9)[0]))


def mixed_modes(place):
    (place / "made" / "00003.png").write_bytes(png(noise(1, 3, 8)[0]))


def another_size(place):
    for file in (place / "made").iterdir():
        file.unlink()
    write_folder(place / "made", noise(30, 1, 16))


def one_picture(place):
    for file in sorted((place / "made").iterdir())[1:]:
        file.unlink()


def empty(place):
    for file in (place / "made").iterdir():
        file.unlink()


def constant(place):
    for file in (place / "real").iterdir():
        file.write_bytes(png(np.full((1, 8, 8), 7, dtype=np.uint8)))


def nothing_at_all(place):
    pass


@pytest.mark.parametrize(
    ("spoil", "words", "message"),
    [
        (corrupt, (), r"1 picture cannot be read: 00003.png .*the other 29 are fine.*skip"),
        (mixed_sizes, (), "8×8.*9×9"),
        (mixed_modes, (), "grey and .* colour"),
        (another_size, (), r"real has 8×8 .*made has 16×16.*--size"),
        (one_picture, (), "at least two"),
        (empty, (), "picture"),
        (constant, (), "all 40 reference images have the same features"),
        (nothing_at_all, ("--metric", "fd_infinity"), "for 64 dimensions|64 dimensions"),
        (nothing_at_all, ("--metric", "precision_recall", "--samples", "3"), "at least 4"),
        (nothing_at_all, ("--metric", "fd", "--metric", "fd"), "stands twice"),
        (nothing_at_all, ("--metric", "kidd"), "did you mean 'kid'"),
        (nothing_at_all, ("--colour", "red"), "no 'red'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(sets, measure, spoil, words, message):
    place, _, _ = sets
    spoil(place)
    before = set(place.rglob("*"))
    ended = measure("real", "made", *words)
    assert ended.returncode == 2 and ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1 and re.search(message, ended.stderr), ended.stderr
    assert set(place.rglob("*")) == before


def test_what_is_damaged_can_be_left_out(sets, measure):
    place, _, _ = sets
    corrupt(place)
    document = json.loads(measure("real", "made", "--skip-corrupt", "--json").stdout)
    assert document["generated"]["count"] == 29 and document["generated"]["skipped"] == 1
    assert {row["samples"] for row in document["metrics"]} == {29}


def test_archives_that_mean_harm_are_refused(sets, measure):
    place, _, generated = sets
    np.savez(place / "pickled.npz", arr_0=np.array([Canary()] * 3, dtype=object))
    (place / "pickled.npy").write_bytes(pickle.dumps(Canary()))
    write_zip(place / "escaping.zip", generated[:2], more=[("../../escaped.png", png(generated[0]))])
    content = io.BytesIO()
    np.save(content, np.zeros((2000, 512, 512, 3), dtype=np.uint8)[:1])
    header = content.getvalue()[:128].replace(b"(1, 512, 512, 3)", b"(9**9, 512, 512)")
    with zipfile.ZipFile(place / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", header + bytes(10**6))
    for name in ("pickled.npz", "pickled.npy", "escaping.zip", "bomb.npz"):
        ended = measure("real", name)
        assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1, (name, ended)
        assert name in ended.stderr
    names = {path.name for path in Path(place).iterdir()} | {path.name for path in Path(place).parent.iterdir()}
    assert not {"code-was-run", "escaped.png"} & names
