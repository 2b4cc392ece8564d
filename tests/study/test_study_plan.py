"""The plan: counts that can be checked by hand, estimates that can be checked by running."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies_for_tests import study
from toy_study import TEXT, written

from ablate.candidates.flops import Cost
from ablate.errors import InputError
from ablate.study import estimate
from ablate.study.launch import launch
from ablate.study.load import load_study
from ablate.study.loaded import LoadedStudy
from ablate.study.plan import plan


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedStudy:
    return load_study(written(tmp_path))


def test_a_row_for_each_candidate(loaded: LoadedStudy) -> None:
    frame = plan(loaded)
    assert list(frame.columns) == [
        "candidate", "c.backbone.conditioning", "c.backbone.width", "params", "gflops", "gflops_edm2", "macs",
        "sample_gflops", "train_gflops", "memory_bytes", "seconds", "images", "seeds", "config_hash", "failure",
    ]  # fmt: skip
    assert list(frame["c.backbone.width"]) == [8, 8, 16]
    assert frame["candidate"].is_unique
    assert frame["config_hash"].is_unique
    assert set(frame["images"]) == {3200}
    assert set(frame["seeds"]) == {2}
    width, kernel, pixels = 8, 9, 64  # convolutions 1 -> 8 -> 8 -> 8 -> 1 with biases, on 8×8 pixels
    assert frame["params"][0] == (kernel + 1) * width + 2 * (kernel * width + 1) * width + kernel * width + 1
    assert frame["macs"][0] == pixels * kernel * (width + 2 * width * width + width)
    assert (frame["train_gflops"] == 3 * frame["gflops"] * 3200).all() and (
        frame["gflops_edm2"] > frame["gflops"]
    ).all()
    assert frame.attrs["trials"] == 6
    assert frame.attrs["space"]["backbone.width"] == [8, 16]


def test_a_trial_is_the_one_that_will_run(loaded: LoadedStudy) -> None:
    hashes = [loaded.trial_settings.digest(loaded.candidate(a)) for a in loaded.proposals() or ()]
    assert list(plan(loaded)["config_hash"]) == hashes


def test_a_search_shows_its_baseline(tmp_path: Path) -> None:
    text = TEXT.replace("toy_one_factor", "toy_search").replace("    - 8\n    - 16", "    low: 8\n    high: 32")
    frame = plan(load_study(written(tmp_path, text)))
    assert len(frame) == 1
    assert frame.attrs["trials"] == 40
    assert "finds 20 candidates by itself" in frame.attrs["note"]
    assert frame.attrs["space"]["backbone.width"] == {"low": 8, "high": 32, "log": False, "step": None}


def test_a_study_without_vary_is_its_baseline(tmp_path: Path) -> None:
    frame = plan(load_study(written(tmp_path), ["vary={}"]))
    assert len(frame) == 1


def test_time_follows_the_work(loaded: LoadedStudy) -> None:
    base, setting = loaded.study.base, loaded.trial_settings.setting

    def seconds(images: int, samples: int, **other: object) -> float:
        cost = Cost(params=0, gflops=1e-3, macs=10**6, activations=0)
        return estimate.seconds(base.model_copy(update=other), setting, cost, images, samples, "cpu")

    assert seconds(2000, 0) == pytest.approx(2 * seconds(1000, 0))
    rate = estimate.matmul_rate(base.precision, "cpu")
    assert seconds(1000, 0) == pytest.approx(6 * 10**6 * 1000 / (0.4 * rate))
    calls = base.solver.nfe() * 2  # classifier-free guidance looks twice
    assert seconds(0, 30) == pytest.approx(seconds(10 * calls, 0))
    plain = loaded.catalog.create("guidance", "none")
    assert seconds(0, 30, guidance=plain) == pytest.approx(seconds(0, 30) / 2)


def test_a_budget_of_minutes_takes_its_minutes(tmp_path: Path) -> None:
    frame = plan(load_study(written(tmp_path), ["budget={minutes: 3}"]))
    assert frame["images"].isna().all()
    assert (frame["seconds"] > 180).all()
    assert (frame["seconds"] < 600).all()


def test_the_rate_is_measured_and_is_a_rate() -> None:
    from ablate.discovery.catalog import catalog

    rate = estimate.matmul_rate(catalog().create("precision", "fp32"), "cpu")  # type: ignore[arg-type]
    assert 1e6 < rate < 1e15  # floating-point operations a second


@pytest.mark.parametrize(("waiting", "expected"), [(0.02, 1e-3), (1e-4, 1e-4)])
def test_threads_that_wait_for_busy_cores_are_not_the_rate(
    waiting: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, threads = [0.0], [2]

    def product(*_: object) -> None:
        now[0] += waiting if threads[0] > 1 else 1e-3

    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr("torch.nn.functional.linear", product)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads[0])
    monkeypatch.setattr("torch.set_num_threads", lambda n: threads.__setitem__(0, n))
    estimate.plain_rate.cache_clear()
    try:
        assert estimate.plain_rate("cpu") == pytest.approx(2 * 256**3 / expected)
    finally:
        estimate.plain_rate.cache_clear()
    assert threads == [2]


def test_a_limit_that_ends_every_trial_is_refused_as_a_run_refuses_it(tmp_path: Path) -> None:
    loaded = load_study(written(tmp_path), ["executor={type: local, limits: {trial: 50s}}"])
    with pytest.raises(InputError, match=r"limits\.trial: is 50s, and a trial writes its first checkpoint after 1min"):
        plan(loaded, "cpu")


def test_quality_during_training_is_counted_and_told() -> None:
    long = study(**{"budget.steps": 200, "evaluate.samples": 40})
    at = "evaluate.at=[0.1, 0.5, 1.0]"
    plain, watched = (plan(load_study(long, overrides=o)) for o in ((), (at, "evaluate.at_samples=10")))
    assert plain.attrs["points"] == []
    (line,) = watched.attrs["points"]
    assert line.startswith("quality during training: 3 times 10 samples; about ") and "of a trial's operations" in line
    assert (watched["seconds"] > plain["seconds"]).all() and list(watched["config_hash"]) == list(plain["config_hash"])
    dear = plan(load_study(long, overrides=("evaluate.every=32",)))
    assert any("quality during training takes" in warning for warning in dear.attrs["warnings"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("evaluate.at=[0.001]", "0.001 of 3,200 images are less than one step of 16"),
        ("evaluate.at=[0.501, 0.502]", "two of 0.501, 0.502 fall into one step"),
        ("evaluate.every=8", "8 images are less than one step of 16"),
    ],
)
def test_points_that_cannot_be_are_refused_before_any_training(tmp_path: Path, setting: str, message: str) -> None:
    long = study(**{"budget.steps": 200})
    with pytest.raises(InputError, match=message):
        plan(load_study(long, overrides=(setting,)))
    with pytest.raises(InputError, match=message):
        launch(long, out=tmp_path / "out", overrides=(setting,), executor="local")
    assert not (tmp_path / "out").exists()


def test_routing_is_counted_once_beside_terms_that_cost(tmp_path: Path) -> None:
    """With them a step is counted as a whole, its routing included."""
    vit = {"type": "dit", "patch": 2, "depth": 6, "width": 32, "heads": 2, "routing": "drop"}
    routed = load_study({"study": "routed", "data": "digits", "base": {"backbone": vit}, "budget": {"images": 100}})
    settings, plain = routed.trial_settings, routed.study.base
    cost = settings.cost(plain)
    assert cost.trained_gflops < cost.gflops
    three = estimate.flops(plain, settings.setting, cost, 100, 0)
    assert three == pytest.approx(2 * 3 * cost.macs * 100 * cost.trained_gflops / cost.gflops)
    term = routed.catalog.create("auxiliary", {"type": "dispersive", "site": "blocks.0"})
    with_term = plain.model_copy(update={"auxiliary": (term,)})
    counted = estimate.flops(with_term, settings.setting, settings.cost(with_term), 100, 0)
    assert counted == pytest.approx(three, rel=0.02)


def test_what_an_objective_computes_counts_in_the_cost_of_training() -> None:
    """Mean flow differentiates the network along a direction: a step is more than three passes, also for a budget."""
    vit = {"type": "dit", "patch": 2, "depth": 2, "width": 32, "heads": 2, "second_label": True}
    base = {"backbone": vit, "objective": "mean_flow", "schedule": "rectified_flow", "target": "flow"}
    loaded = load_study({"study": "flow", "data": "digits", "base": base, "budget": {"train_gflops": 10.0}})
    settings, flow = loaded.trial_settings, loaded.study.base
    plain = flow.model_copy(update={"objective": loaded.catalog.create("objective", "denoise")})
    cost, before = settings.cost(flow), settings.cost(plain)
    assert before.train_pass_gflops is None and cost.gflops == before.gflops
    assert cost.trained_gflops > 1.3 * cost.gflops
    (job,) = settings.jobs(flow, 1, {}, (), Path("trials"), cost)
    assert job["train_pass_gflops"] == cost.trained_gflops
    images = [settings.budget.images_for(flow.batch, one.trained_gflops) for one in (cost, before)]
    assert images[0] < images[1]
    times = [estimate.flops(one, settings.setting, of, 100, 0) for one, of in ((flow, cost), (plain, before))]
    assert times[0] / times[1] == pytest.approx(cost.trained_gflops / cost.gflops)


def test_a_schedule_that_follows_from_the_data_changes_no_cost_of_training() -> None:
    """Passes are counted and simulated with the schedule as these data make it."""
    vit = {"type": "dit", "patch": 2, "depth": 2, "width": 32, "heads": 2}
    base = {"backbone": vit, "objective": "self_conditioning", "batch": 16}
    told = {"study": "s", "data": "digits", "base": base, "vary": {"schedule": ["cosine", "shifted"]}}
    frame = plan(load_study({**told, "design": "grid", "budget": {"steps": 2}, "objectives": ["loss"]}), "cpu")
    assert frame["train_gflops"].nunique() == frame["memory_bytes"].nunique() == 1
    assert (frame["train_gflops"] > 1.1 * 3 * frame["gflops"] * frame["images"]).all()
    assert frame["memory_bytes"].notna().all()


READS = """
import torch
from ablate.api import Objective

class Reads(torch.nn.Module):
    def forward(self, noised, labels, model):
        y = model.predict(noised.x, noised.level, labels)
        return {"reads": (y / y.std().item()).square().flatten(1).mean(1)}

class ReadsObjective(Objective):
    name = "reads"

    def provides(self):
        return frozenset({"activations", "prediction"})

    def build(self, host):
        return Reads()
"""


def test_a_training_that_cannot_be_counted_is_told(tmp_path: Path) -> None:
    (tmp_path / "reads.py").write_text(READS)
    vit = {"type": "dit", "patch": 2, "depth": 1, "width": 32, "heads": 2}
    told = {"study": "s", "data": "digits", "plugins": [str(tmp_path / "reads.py")], "budget": {"steps": 2}}
    told |= {"base": {"backbone": vit, "objective": "reads"}, "vary": {"objective": ["reads", "denoise"]}}
    (line,) = (
        one for one in plan(load_study({**told, "objectives": ["loss"]}), "cpu").attrs["warnings"] if "reads" in one
    )
    taken = (
        "objective 'reads': what training takes cannot be counted, and is taken as three forward passes (RuntimeError"
    )
    assert line.startswith(taken) and "reads.py:" in line
