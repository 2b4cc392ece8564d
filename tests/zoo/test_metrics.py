from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from ablate.api import InputError
from ablate_zoo.data.mnist import Mnist
from ablate_zoo.features.efficientnet_lite0 import EfficientNetLite0Features
from ablate_zoo.metric import kid
from ablate_zoo.metric.fd import FrechetDistance
from ablate_zoo.metric.kid import KernelDistance

FEATURES = EfficientNetLite0Features()
FD, KID = FrechetDistance(features=FEATURES), KernelDistance(features=FEATURES)


def draw(seed, n, d, shift=0.0):
    """Correlated, skewed vectors: nothing about them is Gaussian."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(d, d)) / np.sqrt(d)
    return np.maximum(rng.normal(size=(n, d)) @ mix + shift, -0.3)


@pytest.mark.parametrize(("n", "m"), [(200, 300), (300, 200), (2000, 1001)])
def test_fd_is_that_of_a_matrix_square_root(n, m):
    x, y = draw(0, n, 40), draw(1, m, 40, shift=0.2)
    a, b = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert FD.compute(x, y).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(30, 20), (20, 30), (30, 500), (500, 30), (2, 2)])
def test_fd_is_exact_with_fewer_samples_than_dimensions(n, m):
    """Against the symmetric form tr((Σ₁^½ Σ₂ Σ₁^½)^½), whose null eigenvalues leave it six digits."""
    x, y = draw(2, n, 64), draw(3, m, 64, shift=0.2)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ np.cov(y.T) @ root), 0)).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * cross
    assert FD.compute(x, y).value == pytest.approx(expected, rel=1e-5)


def test_fd_of_known_gaussians_and_of_a_set_with_itself():
    x = draw(4, 50, 80)
    assert FD.compute(x, x).value == pytest.approx(0, abs=1e-10)
    assert FD.compute(x + 3, x).value == pytest.approx(9 * 80, rel=1e-10)  # a shift of the mean alone
    assert FD.compute(2 * (x - x.mean(0)), x - x.mean(0)).value == pytest.approx(np.trace(np.cov(x.T)), rel=1e-10)


def test_dead_and_copied_features_do_no_harm():
    x, y = draw(5, 90, 30), draw(6, 70, 30, shift=0.1)
    wide_x, wide_y = (np.hstack([v, v, np.zeros((len(v), 40))]) for v in (x, y))
    assert FD.compute(wide_x, wide_y).value == pytest.approx(2 * FD.compute(x, y).value, rel=1e-9)


def naive_kid(x, y):
    def kernel(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    within_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(kernel(a, b) for a in x for b in y) / (n * m)


def naive_pairs(x, y):
    """The variance of KID that pairs of images add, from tables of their kernels that a least-squares fit explains."""
    n, m = len(x), len(y)
    rest = []
    for a, b in ((x, x), (y, y), (x, y)):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if a is not b or i < j]
        kernel = np.array([(float(a[i] @ b[j]) / 8 + 1) ** 3 for i, j in pairs])
        design = np.zeros((len(pairs), len(a) + (0 if a is b else len(b))))
        for row, (i, j) in enumerate(pairs):
            design[row, i] += 1
            design[row, j if a is b else len(a) + j] += 1
        residual = kernel - design @ np.linalg.lstsq(design, kernel, rcond=None)[0]
        rest.append((residual**2).sum() / (len(pairs) - np.linalg.matrix_rank(design)))
    return 2 * rest[0] / (n * (n - 1)) + 2 * rest[1] / (m * (m - 1)) + 4 * rest[2] / (n * m)


def test_kid_and_its_error_are_those_of_the_double_loop(monkeypatch):
    x, y = draw(7, 13, 8), draw(8, 9, 8, shift=0.6)
    left_x = [naive_kid(np.delete(x, i, 0), y) for i in range(13)]
    left_y = [naive_kid(x, np.delete(y, i, 0)) for i in range(9)]
    jackknife = 12 / 13 * np.sum((left_x - np.mean(left_x)) ** 2) + 8 / 9 * np.sum((left_y - np.mean(left_y)) ** 2)
    pairs = naive_pairs(x, y)
    assert jackknife > 2 * pairs
    for block in (4096, 4):
        monkeypatch.setattr(kid, "_BLOCK", block)
        kid._reference.cache_clear()
        measured = KID.compute(x, y)
        assert measured.value == pytest.approx(naive_kid(x, y), rel=1e-10)
        assert measured.error == pytest.approx(np.sqrt(jackknife - pairs), rel=1e-8)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5])
def test_the_stated_error_is_the_spread_over_redraws(shift):
    runs = [KID.compute(draw(1000 + i, 60, 16, shift), draw(5000 + i, 80, 16)) for i in range(600)]
    values = np.array([run.value for run in runs])
    stated = np.sqrt(np.mean([run.error**2 for run in runs]))
    assert 0.8 < stated / values.std() < 1.2
    if shift == 0:
        assert abs(values.mean()) < 3 * values.std() / np.sqrt(600)  # unbiased


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    data = Mnist(reference=1000).load(Path(tmp_path_factory.mktemp("cache")))
    return data.images[:1000], data.reference_images


@pytest.fixture(scope="module")
def eyes():
    extract = FEATURES.build(torch.device("cpu"))

    def see(images):
        return torch.cat([extract(part) for part in torch.from_numpy(images).split(32)]).double().numpy()

    return see


def test_real_images_that_get_worse_measure_worse(mnist, eyes):
    real, reference = mnist[0][:300], eyes(mnist[1][:300])

    def measure(images):
        vectors = eyes(images)
        return FD.compute(vectors, reference).value, KID.compute(vectors, reference)

    rng, untouched = np.random.default_rng(0), measure(real)
    noise, blur = [untouched], [untouched]
    noise += [measure((real + rng.normal(size=real.shape) * scale).clip(0, 255).astype(np.uint8)) for scale in (5, 20)]
    for times in (1, 3):
        soft = real.astype(np.float32)
        for _ in range(times):
            soft = sum(np.roll(soft, shift, axis) for shift, axis in ((0, 2), (1, 2), (-1, 2), (1, 3), (-1, 3))) / 5
        blur.append(measure(soft.astype(np.uint8)))
    for series in (noise, blur):
        distances, kernels = [d for d, _ in series], [k for _, k in series]
        assert distances == sorted(distances)
        assert abs(kernels[0].value) < 3 * kernels[0].error  # real images are real
        for better, worse in pairwise(kernels):
            assert worse.value > better.value + 2 * worse.error


def test_the_reference_is_worked_out_once():
    x, y = draw(11, 1500, 600), draw(12, 1000, 600)
    kid._reference.cache_clear()
    first = KID.compute(x, y)
    assert KID.compute(x, y.copy()) == first  # the same content, another array
    assert kid._reference.cache_info().hits == 1
    assert KID.compute(x, y + 1e-9) != first  # other content is not taken for it


@pytest.mark.parametrize("metric", [FD, KID])
def test_what_cannot_be_measured_is_refused(metric):
    x, y = draw(15, 10, 4), draw(16, 10, 4)
    broken = x.copy()
    broken[[2, 5], 1] = np.nan, np.inf
    with pytest.raises(InputError, match="2 of 10 generated samples"):
        metric.compute(broken, y)
    with pytest.raises(InputError, match="2 of 10 reference samples"):
        metric.compute(x, broken)
    with pytest.raises(InputError, match="at least"):
        metric.compute(x[: metric.least - 1], y)
    with pytest.raises(InputError, match="at least"):
        metric.compute(x, y[: metric.least - 1])
    with pytest.raises(InputError, match="4 dimensions"):
        metric.compute(x, y[:, :3])
    with pytest.raises(InputError, match=r"\(10,\)"):
        metric.compute(x[:, 0], y)
    with pytest.raises(InputError, match="same features"):
        metric.compute(x, np.ones((10, 4)))


@pytest.mark.parametrize("metric", [FD, KID])
def test_a_collapsed_model_is_measured_and_is_worse(metric):
    reference, fair = draw(17, 100, 12), draw(18, 100, 12)
    collapsed = np.repeat(fair[:1], 100, axis=0)
    assert metric.compute(collapsed, reference).value > 3 * abs(metric.compute(fair, reference).value)


def test_columns_are_named_after_the_features():
    assert FD.columns(50_000) == {"fd": "fd_efficientnet_lite0"}
    assert KID.columns(10) == {"kid": "kid_efficientnet_lite0"}
