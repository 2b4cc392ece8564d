"""Metrics against independent implementations, and against what is known of the distributions."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import mannwhitneyu
from sklearn.neighbors import NearestNeighbors

from ablate.api import InputError
from ablate.candidates.evaluation import Evaluation
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate_zoo.features.efficientnet_lite0 import EfficientNetLite0Features
from ablate_zoo.features.inception_v3 import InceptionV3Features
from ablate_zoo.metric import _neighbours
from ablate_zoo.metric._moments import Moments
from ablate_zoo.metric.density_coverage import DensityCoverage
from ablate_zoo.metric.fd import FrechetDistance
from ablate_zoo.metric.fd_infinity import InfiniteFrechetDistance
from ablate_zoo.metric.inception_score import InceptionScore
from ablate_zoo.metric.memorisation import Memorisation
from ablate_zoo.metric.precision_recall import PrecisionRecall
from ablate_zoo.metric.sfid import SpatialFrechetDistance

LITE, INCEPTION = EfficientNetLite0Features(), InceptionV3Features()
FD = FrechetDistance(features=LITE)


def draw(seed, n, d, shift=0.0):
    """Correlated, skewed vectors: nothing about them is Gaussian."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(d, d)) / np.sqrt(d)
    return np.maximum(rng.normal(size=(n, d)) @ mix + shift, -0.3)


@pytest.mark.filterwarnings("ignore")  # of their own imports
def test_fd_is_that_of_pytorch_fid_and_torch_fidelity():
    theirs = pytest.importorskip("pytorch_fid.fid_score")
    fidelity = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = draw(0, 700, 96), draw(1, 400, 96, shift=0.1)
    ours = FD.compute(x, y).value
    a, b = ((v.mean(0), np.cov(v, rowvar=False)) for v in (x, y))
    assert theirs.calculate_frechet_distance(*a, *b) == pytest.approx(ours, rel=1e-6)
    stats = [dict(zip(("mu", "sigma"), of, strict=True)) for of in (a, b)]
    found = fidelity.fid_statistics_to_metric(*stats, False)
    assert found["frechet_inception_distance"] == pytest.approx(ours, rel=1e-6)
    exact = ((a[0] - b[0]) ** 2).sum() + np.trace(a[1] + b[1] - 2 * sqrtm(a[1] @ b[1]).real)
    assert exact == pytest.approx(ours, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(40, 90), (64, 64), (65, 64), (300, 40), (300, 500)])
def test_fd_in_batches_is_fd_at_once_whether_or_not_it_keeps_vectors(n, m):
    """Against the singular values of the centred samples themselves, exact on both sides of N = D."""
    x, y = draw(2, n, 64), draw(3, m, 64, shift=0.2)
    x[:, 7] = y[:, 7] = 0  # a dead feature
    a, b = ((v - v.mean(0)) / np.sqrt(len(v) - 1) for v in (x, y))
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.square(a).sum() + np.square(b).sum() - 2 * cross
    for batch in (1, 13, n):
        moments = Moments()
        for first in range(0, n, batch):
            moments.add(x[first : first + batch])
        assert FD.compute(moments.collected(), y).value == pytest.approx(expected, rel=1e-7)


def test_fd_needs_memory_for_the_dimensions_and_not_for_the_samples():
    rng, moments = np.random.default_rng(0), Moments()
    tracemalloc.start()
    try:
        for _ in range(400):
            moments.add(rng.normal(size=(250, 64)).astype(np.float32))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert moments.count == 100_000
    assert peak < 2e6  # the vectors are 51 MB, a matrix of the dimensions 33 kB, a batch 128 kB
    assert FD.compute(moments, rng.normal(size=(5000, 64))).value < 0.5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("elements", [2**23, 500])
def test_precision_and_recall_are_those_of_torch_fidelity(monkeypatch, elements):
    fidelity = pytest.importorskip("torch_fidelity.metric_prc")
    monkeypatch.setattr(_neighbours, "_ELEMENTS", elements)
    _neighbours._of_reference.cache_clear()
    x, y = 0.8 * draw(4, 210, 6, shift=0.3), draw(5, 170, 6)
    found = PrecisionRecall(features=LITE).compute(x, y)
    precision, recall = fidelity.calculate_precision_recall_full(*map(torch.from_numpy, (x, y)), 3)
    assert 0.1 < recall < precision < 0.99  # the case says something
    assert (found["precision"].value, found["recall"].value) == pytest.approx((precision, recall), abs=1e-6)


def test_density_and_coverage_are_those_of_a_neighbour_search():
    x, y, k = 0.8 * draw(6, 150, 6, shift=0.3), draw(7, 190, 6), 5
    radii = NearestNeighbors(n_neighbors=k + 1).fit(y).kneighbors(y)[0][:, k]
    inside = np.linalg.norm(x[:, None] - y[None], axis=2) < radii
    found = DensityCoverage(features=LITE).compute(x, y)
    assert found["density"].value == pytest.approx(inside.sum() / (k * len(x)), rel=1e-12)
    assert found["coverage"].value == pytest.approx(inside.any(0).mean(), rel=1e-12)


def test_memorisation_is_what_a_neighbour_search_and_a_rank_test_find():
    training, held_out = draw(8, 400, 6), draw(9, 150, 6)
    copies, fresh = training[::4] + 1e-3, draw(10, 120, 6)
    metric = Memorisation(features=LITE)
    search = NearestNeighbors(n_neighbors=2).fit(training)
    own = search.kneighbors(training)[0][:, 1]
    for generated in (copies, fresh, np.concatenate([copies, fresh])):
        found = metric.compare(generated, held_out, training)
        far, which = search.kneighbors(generated, 1)
        assert found["authenticity"].value == pytest.approx((far[:, 0] > own[which[:, 0]]).mean(), abs=1e-12)
        ranks = mannwhitneyu(far[:, 0], search.kneighbors(held_out, 1)[0][:, 0])
        pairs = len(generated) * len(held_out)
        assert found["data_copying"].value == pytest.approx(ranks.statistic / pairs, abs=1e-9)
        null = np.sqrt((len(generated) + len(held_out) + 1) / 12 / pairs)
        assert found["data_copying"].error == pytest.approx(null)
    memorised, new = (metric.compare(x, held_out, training) for x in (copies, fresh))
    assert memorised["authenticity"].value == memorised["data_copying"].value == 0
    assert abs(new["data_copying"].value - 0.5) < 3 * new["data_copying"].error and new["authenticity"].value > 0.3
    exact = metric.compare(np.repeat(training[:30], 2, 0), held_out, np.concatenate([training, training]))
    assert exact["authenticity"].value == 0  # of a picture that is twice in the training set, rounding tells nothing
    with pytest.raises(InputError, match="trained on, which are missing here"):
        metric.compute(fresh, held_out)


def test_lost_modes_cost_recall_and_coverage_and_noise_costs_precision_and_density():
    rng = np.random.default_rng(0)
    modes = rng.normal(size=(10, 3)) * 20
    y = np.repeat(modes, 40, 0) + rng.normal(size=(400, 3))
    fair = np.repeat(modes, 40, 0) + rng.normal(size=(400, 3))
    lost = np.repeat(modes[:5], 80, 0) + rng.normal(size=(400, 3))
    noisy = fair + rng.normal(size=fair.shape) * 4
    ways = {"fair": fair, "lost": lost, "noisy": noisy}
    found = {way: {} for way in ways}
    for metric in (PrecisionRecall(features=LITE), DensityCoverage(features=LITE)):
        for way, x in ways.items():
            found[way].update({name: m.value for name, m in metric.compute(x, y).items()})
    assert all(value > 0.85 for value in found["fair"].values())
    assert found["lost"]["recall"] < 0.55 and found["lost"]["coverage"] < 0.55
    assert found["lost"]["precision"] > 0.85 and found["lost"]["density"] > 0.85
    assert found["noisy"]["precision"] < 0.3 and found["noisy"]["density"] < 0.1


@pytest.mark.filterwarnings("ignore")
def test_inception_score_is_that_of_torch_fidelity():
    fidelity = pytest.importorskip("torch_fidelity.metric_isc")
    logits = np.random.default_rng(8).normal(size=(300, 20)) * 3
    theirs = fidelity.isc_features_to_metric(torch.from_numpy(logits), splits=1)
    ours = InceptionScore(features=INCEPTION, splits=1).compute(logits, logits)
    assert theirs["inception_score_mean"] == pytest.approx(ours.value, rel=1e-12) and ours.error is None
    parts = InceptionScore(features=INCEPTION).compute(logits, logits)
    assert parts.value < ours.value and 0 < parts.error < 0.5  # parts see fewer classes evenly


def test_inception_score_knows_its_ends():
    sure = np.repeat(np.eye(10) * 800, 20, 0)  # underflows to exact zeros
    score = InceptionScore(features=INCEPTION, splits=1)
    assert score.compute(sure, sure).value == pytest.approx(10)
    assert score.compute(np.zeros((50, 10)), sure).value == pytest.approx(1)
    with pytest.raises(InputError, match="at least 20 generated samples, not 19"):
        InceptionScore(features=INCEPTION).compute(sure[:19], sure)


def test_fd_infinity_takes_the_bias_of_few_samples_away():
    """Of two Gaussians whose distance is known, at the fewest samples that it takes; the reference is large."""
    d, rng = 32, np.random.default_rng(9)
    spectrum, scales = np.arange(1, d + 1) ** -0.5, np.linspace(1.3, 1, d)
    y = rng.normal(size=(30_000, d)) * spectrum
    truth = float(np.square((scales - 1) * spectrum).sum())
    infinite, plain, found = InfiniteFrechetDistance(features=LITE), [], []
    for _ in range(40):
        x = rng.normal(size=(infinite.fewest(d), d)) * spectrum * scales
        plain.append(FD.compute(x, y).value - truth)
        found.append(infinite.compute(x, y).value - truth)
    assert np.mean(plain) > 0.15
    assert abs(np.mean(found)) < 0.1 * np.mean(plain) + 3 * np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 0.3 * np.mean(plain)


def test_metrics_that_cannot_be_are_refused_when_they_are_read():
    def evaluation(metric, samples):
        return Evaluation(metrics=(metric,), samples=samples)

    with pytest.raises(SpecError, match=r"'spatial'.*'efficientnet_lite0' give only 'pooled'.*'inception_v3'"):
        catalog().create("metric", {"type": "sfid", "features": "efficientnet_lite0"})
    with pytest.raises(SpecError, match="'logits'"):
        catalog().create("metric", {"type": "inception_score", "features": "efficientnet_lite0"})
    with pytest.raises(ValueError, match="at least 6400 samples with the 1280 dimensions"):
        evaluation(InfiniteFrechetDistance(features=LITE), 6_399)
    assert evaluation(InfiniteFrechetDistance(features=LITE), 6_400)
    with pytest.raises(InputError, match="no line in 1/N"):
        InfiniteFrechetDistance(features=LITE).compute(draw(0, 39, 8), draw(1, 200, 8))
    with pytest.raises(ValueError, match="at least 4 samples"):
        evaluation(PrecisionRecall(features=LITE), 3)


def test_canonical_names_are_earned():
    fd = FrechetDistance(features=INCEPTION)
    assert fd.columns(10_000) == {"fd": "fid"} and fd.columns(9_999) == {"fd": "fd_inception_v3"}
    assert fd.columns(50_000, 9_999) == {"fd": "fd_inception_v3"}, "a perfect model has 61 at 500 reference pictures"
    assert fd.columns(50_000, 10_000) == {"fd": "fid"}
    assert SpatialFrechetDistance(features=INCEPTION).columns(50_000) == {"sfid": "sfid"}
    assert SpatialFrechetDistance(features=INCEPTION).columns(50_000, 999) == {"sfid": "sfid_inception_v3"}
    score = InceptionScore(features=INCEPTION)
    assert score.columns(50_000, 0) == {"inception_score": "inception_score"}, "it looks at no reference"
    other = InceptionScore(features=INCEPTION, splits=1)
    assert other.columns(50_000) == {"inception_score": "inception_score_splits1_inception_v3"}
    both = PrecisionRecall(features=LITE, k=5).columns(50_000)
    assert both == {"precision": "precision_k5_efficientnet_lite0", "recall": "recall_k5_efficientnet_lite0"}
