"""Features whose weights are fetched or trained: Inception beside its ports, DINOv2, a data set's own classifier."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ablate.api import InputError, InputSpec
from ablate.discovery.catalog import catalog
from ablate.evaluation.metric_evaluator import MetricEvaluator
from ablate.io.weights import sha256_of
from ablate.testing import Case
from ablate.testing.kinds.features import has_the_heads_that_it_says
from ablate_zoo.data.digits import Digits
from ablate_zoo.features import inception_v3
from ablate_zoo.features._inception import InceptionV3
from ablate_zoo.features.classifier import ClassifierFeatures
from ablate_zoo.features.dinov2 import Dinov2Features
from ablate_zoo.features.inception_v3 import InceptionV3Features
from ablate_zoo.metric.fd import FrechetDistance
from ablate_zoo.metric.inception_score import InceptionScore
from ablate_zoo.metric.kid import KernelDistance

CPU = torch.device("cpu")


def go_on():
    pass


def noise(count, channels, side, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """A state dict as the real one: 566 tensors, with statistics of normalisation that do something."""
    torch.manual_seed(0)
    state = InceptionV3().state_dict()
    for name, tensor in state.items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif name.endswith("bn.weight"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.1)
    assert len(state) == 566 and sum(t.numel() for t in state.values()) == 23_885_486
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(state, path)
    return path


@pytest.fixture
def inception(random_weights, monkeypatch):
    monkeypatch.setattr(inception_v3, "WEIGHTS", replace(inception_v3.WEIGHTS, sha256=sha256_of(random_weights)))
    return InceptionV3Features(weights=str(random_weights))


@pytest.mark.filterwarnings("ignore")  # of their own imports
def test_inception_is_that_of_pytorch_fid(inception, random_weights, monkeypatch):
    theirs = pytest.importorskip("pytorch_fid.inception")
    state = torch.load(random_weights, weights_only=True)
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: state)
    network = theirs.fid_inception_v3().eval()
    network.fc, inner = torch.nn.Identity(), []
    network.Mixed_6d.branch1x1.register_forward_hook(lambda module, given, out: inner.append(out))
    images = noise(2, 3, 299)
    with torch.no_grad():
        pooled = network((images.float() - 128) / 128)  # their own 2x − 1 aside: the same input for both
    found = inception.build_heads(CPU, {"pooled", "spatial"})(images)
    assert torch.allclose(found["pooled"], pooled, rtol=1e-5, atol=1e-6)
    assert torch.allclose(found["spatial"], inner[0][:, :7].flatten(1), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_inception_is_that_of_torch_fidelity_from_uint8_at_any_size(inception, random_weights):
    theirs = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    network = theirs.FeatureExtractorInceptionV3("theirs", ["2048", "logits_unbiased"], str(random_weights))
    look = inception.build_heads(CPU, {"pooled", "logits"})
    for images in (noise(1, 1, 32), noise(1, 3, 400)[..., :310]):
        with torch.no_grad():
            pooled, logits = network(images.expand(-1, 3, -1, -1))
        found = look(images)
        assert torch.allclose(found["pooled"], pooled, rtol=1e-5, atol=1e-6)
        assert torch.allclose(found["logits"], logits, rtol=1e-5, atol=1e-5)


def test_inception_has_the_heads_that_it_says(inception):
    entry = catalog().entry("features", "inception_v3")
    has_the_heads_that_it_says(Case(entry, catalog(), {"weights": inception.weights}))


def test_inceptions_weights_are_found_checked_and_named(tmp_path, random_weights, monkeypatch):
    other = InceptionV3Features(weights=str(random_weights))
    with pytest.raises(InputError, match=r"random.pth: these are other weights.*6726825d0af5.*pytorch-fid"):
        other.prepare(None, tmp_path, CPU, go_on)
    with pytest.raises(InputError, match="other weights"):
        other.build(CPU)
    assert "no such file" in InceptionV3Features(weights=str(tmp_path / "none")).refuse(InputSpec((3, 8, 8), None))
    assert other.digest() == InceptionV3Features().digest()  # where the file lies decides nothing
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert "91 MiB" in InceptionV3Features().missing(tmp_path)
    held = tmp_path / "torch" / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    held.parent.mkdir(parents=True)
    held.write_bytes(b"as torch-fidelity leaves it")
    assert InceptionV3Features().missing(tmp_path) is None
    with pytest.raises(InputError, match=f"{held.name}: these are other weights"):
        InceptionV3Features().prepare(None, tmp_path, CPU, go_on)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return Digits().load(tmp_path_factory.mktemp("digits"))


def test_a_classifier_learns_its_data_once(digits, tmp_path):
    part = ClassifierFeatures(size=8, width=16, steps=150)
    with pytest.raises(InputError, match="before they are trained"):
        part.weights_hash()
    state = torch.get_rng_state()
    ready = part.prepare(digits, tmp_path, CPU, go_on)
    assert torch.equal(torch.get_rng_state(), state)
    found = ready.build_heads(CPU, {"pooled", "logits"})(torch.from_numpy(digits.reference_images))
    right = found["logits"].argmax(1).numpy() == digits.reference_labels
    assert right.mean() > 0.9 and found["pooled"].shape == (500, 64)

    def never():
        raise AssertionError("it trains again")

    assert part.prepare(digits, tmp_path, CPU, never).identity() == ready.identity()
    other = replace(digits, hash="other", labels=digits.labels[::-1].copy())
    assert part.model_copy(update={"steps": 2}).prepare(other, tmp_path, CPU, go_on).identity() != ready.identity()
    with pytest.raises(InputError, match="with labels"):
        part.prepare(replace(digits, labels=None), tmp_path, CPU, go_on)


def test_a_judge_shares_one_look_among_metrics_and_keeps_the_reference(digits, tmp_path):
    """Distances and a score by the classifier's two heads; dropped classes and blur measure worse, the real best."""
    eyes = ClassifierFeatures(size=8, width=16, steps=150)
    metrics = (FrechetDistance(features=eyes), KernelDistance(features=eyes), InceptionScore(features=eyes, splits=1))
    judge = MetricEvaluator(metrics, digits, tmp_path, CPU)
    half = digits.labels < 5
    real = digits.images[:400]
    soft = real.astype(float)
    soft = sum(np.roll(soft, shift, axis) for shift, axis in ((0, 2), (1, 2), (-1, 2), (1, 3), (-1, 3))) / 5
    values = {}
    for way, images in {"real": real, "half": digits.images[half][:400], "soft": soft.astype(np.uint8)}.items():
        judge.begin()
        for part in torch.from_numpy(images).split(150):
            judge.see(part)
        rows = list(judge.values(len(images)))
        values[way] = [row["value"] for row in rows]
        assert [row["metric"] for row in rows] == [
            "fd_classifier",
            "kid_classifier",
            "inception_score_splits1_classifier",
        ]
        assert all(row["samples"] == 400 and row["reference_hash"] == digits.hash for row in rows)
    assert len({row["features_hash"] for row in rows}) == 1
    for worse in ("half", "soft"):
        assert values[worse][0] > 3 * values["real"][0] and values[worse][1] > values["real"][1] + 0.01
    assert values["real"][2] > 1.5 * values["half"][2]
    kept = sorted((tmp_path / "features").iterdir())  # of the head that distances look at; the score looks at none
    assert [path.suffix for path in kept] == [".npy", ".sum"]
    before = [path.stat().st_mtime_ns for path in kept]
    MetricEvaluator(metrics, digits, tmp_path, CPU)
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_dinov2_is_the_class_token_of_transformers(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    from ablate_zoo.features._dinov2 import positions, prepare

    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 518, "patch_size": 14}
    torch.manual_seed(0)
    transformers.Dinov2Model(transformers.Dinov2Config(**shape)).save_pretrained(tmp_path)
    part = Dinov2Features(weights=str(tmp_path))
    ready = part.prepare(None, tmp_path, CPU, go_on)
    images = noise(2, 1, 40)
    found = ready.build(CPU)(images)
    network = transformers.Dinov2Model.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        theirs = network(prepare(images)).last_hidden_state[:, 0]
    assert found.shape == (2, 16) and torch.allclose(found, theirs, atol=0.05)  # but for how positions are resampled
    table = network.embeddings.position_embeddings
    resampled = positions(table, 16)
    assert resampled.shape == (1, 257, 16) and torch.equal(resampled[:, 0], table[:, 0])
    assert torch.equal(positions(table, 37), table)
    assert ready.identity() == part.identity() and len(part.weights_hash()) == 64
    assert "config.json" in Dinov2Features(weights=str(tmp_path / "none")).refuse(InputSpec((3, 8, 8), None))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "ablate[dinov2]"' in part.refuse(InputSpec((3, 8, 8), None))
