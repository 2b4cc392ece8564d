"""What training minimises: the default is what it was, terms are added, curves show them, checkpoints hold them."""

from __future__ import annotations

from pathlib import Path

import pytest
import segments_for_tests as segments
import torch
from learners import SETTING, candidate, images, learner, same, train

from ablate.candidates.candidate import cost_of
from ablate.errors import InputError, SpecError
from ablate.kinds.executor import Stopped
from ablate.results.frames import curves
from ablate.study.ineffective import ineffective_settings
from ablate.study.load import load_study
from ablate.training.learner import Learner
from ablate.training.memory_estimate import footprint
from ablate.training.training_cost import train_gflops
from ablate.worker.out_of_memory import half_micro_batch

REPA = {"type": "repa", "teacher": {"type": "classifier", "steps": 1}}


def test_the_default_is_the_loss_of_the_prediction_to_the_bit() -> None:
    """As it was computed before objectives were a kind: prediction, loss, and log u where the weighting learns one."""
    for more in ({}, {"weighting": "edm", "precondition": "edm"}, {"loss": "mse", "precision": "bf16"}):
        who = learner(**more)
        noised, labels = who.batch()
        prediction = who.process.predict(who.predict, noised.x, noised.level, labels)
        loss = who.candidate.loss.compute(prediction, noised, who.process)
        learned = who.process.log_variance(noised.level)
        assert torch.equal(who.loss(noised, labels), loss if learned is None else loss + learned)


def test_the_default_adds_nothing_to_identity_checkpoint_or_curve() -> None:
    """So studies, checkpoints and records of before go on."""
    plain, said = candidate(), candidate(objective="denoise", auxiliary=[], coupling="independent", augmentation="none")
    assert plain.digest() == said.digest()
    assert not {"objective", "auxiliary", "coupling", "augmentation"} & plain.active().keys()
    who = train(learner(), 2)
    state = who.state({})
    assert not [name for name in state.tensors if name.startswith("objective")]
    again = learner()
    again.load(state)
    one, other = who.step(1000), again.step(1000)
    assert one.terms == {} and float(one.loss) == float(other.loss)


def test_other_choices_have_other_identities() -> None:
    others = [{"auxiliary": ["dispersive"]}, {"coupling": "immiscible"}, {"augmentation": "flip"}]
    others += [{"auxiliary": ["contrastive"]}, {"objective": "consistency"}]
    assert len({candidate(**one).digest() for one in ({}, *others)}) == 1 + len(others)


def test_terms_are_added_with_their_weights_and_shown_without() -> None:
    who = learner(auxiliary=[{"type": "dispersive", "weight": 0.25}, {"type": "dispersive", "weight": 2.0}])
    step = who.step(1000)
    assert list(step.terms) == ["denoise", "dispersive", "dispersive_2"]
    denoise, one, two = map(float, step.terms.values())
    assert one == two
    assert float(step.loss) == pytest.approx(denoise + 2.25 * one)


def test_a_term_ends_at_its_share_of_the_training() -> None:
    """HASTE: after `until` the training is that without the term."""
    who = learner(auxiliary=[{"type": "dispersive", "until": 0.5}])
    named = [set(who.step(32).terms) for _ in range(4)]  # steps of 8 images
    assert named == [{"denoise", "dispersive"}] * 2 + [set()] * 2


def test_a_projector_is_trained_kept_and_counted_beside_the_network(tmp_path: Path) -> None:
    who = learner(auxiliary=[REPA])
    who.data.cache = tmp_path
    who.prepare(lambda: None)
    before = {name: p.detach().clone() for name, p in who.terms.named_parameters()}
    train(who, 2)
    assert before and not any(torch.equal(p, before[name]) for name, p in who.terms.named_parameters())
    again = learner(auxiliary=[REPA])
    again.data.cache = tmp_path
    again.load(who.state({}))
    again.prepare(lambda: None)
    assert same(again.terms.state_dict(), who.terms.state_dict())
    assert float(again.step(1000).loss) == float(who.step(1000).loss)
    alone, beside = candidate(), candidate(auxiliary=[REPA])
    assert cost_of(alone.backbone, SETTING) == cost_of(beside.backbone, SETTING)
    own = sum(p.numel() for p in before.values())
    weights = [footprint(one, SETTING, "cpu").weights for one in (alone, beside)]
    assert weights[1] - weights[0] == pytest.approx(4 * own, abs=64)
    # Three products of a matrix a token: forward, and for the gradients of weights and input.
    tokens = 4
    matrices = sum(p.numel() for name, p in before.items() if name.endswith("weight"))
    more = 1e9 * (train_gflops(beside, SETTING) - train_gflops(alone, SETTING))
    assert more == pytest.approx(3 * tokens * matrices)


def test_a_term_that_couples_images_is_never_cut() -> None:
    with pytest.raises(SpecError, match=r"micro 4 cuts the batch of 8 .* 'dispersive' compares"):
        candidate(auxiliary=["dispersive"], micro=4)
    assert candidate(auxiliary=["dispersive"], micro=8).micro == 8
    with pytest.raises(InputError, match="cannot be cut into 2 each"):
        Learner(candidate(auxiliary=["contrastive"]), SETTING, images(), 0, torch.device("cpu"), 2)


def test_out_of_memory_does_not_cut_it_either(tmp_path: Path) -> None:
    for auxiliary, smaller in (([], 16), (["dispersive"], None)):
        more = {"backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2}, "auxiliary": auxiliary}
        job = segments.job(tmp_path, segments.candidate(more=more))
        half = half_micro_batch(job)
        assert (half and half["micro"]) == smaller


def test_parts_of_a_batch_draw_what_the_whole_draws() -> None:
    """Of an objective that draws by itself: gradients of micro-batches are those of the batch."""
    more = {
        "backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2, "second_label": True},
        "schedule": "rectified_flow",
        "target": "flow",
        "objective": {"type": "mean_flow", "apart": 0.5},
    }
    whole, parts = learner(**more), learner(micro=3, **more)
    totals = [float(who.gradients(*who.batch())) for who in (whole, parts)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    for one, two in zip(whole.parameters, parts.parameters, strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-6)


def test_a_trial_records_its_terms_and_goes_on_from_any_checkpoint(tmp_path: Path) -> None:
    """Through the worker, interrupted or not: the same record, with a column for each term in the curve."""
    more = {"backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2}, "auxiliary": [REPA]}
    jobs = [segments.job(tmp_path / name, segments.candidate(more=more)) for name in ("whole", "pieces")]
    segments.run(jobs[0])
    with pytest.raises(Stopped):
        segments.run(jobs[1], segments.after(5))
    segments.run(jobs[1])
    whole, pieces = (segments.timeless(segments.read(job, "curve.json")) for job in jobs)
    assert whole == pieces and all({"term_denoise", "term_repa"} <= row.keys() for row in whole)
    table = curves([{"trial": "t", **row} for row in whole])
    assert table["term.repa"].between(-1, 1).all() and (table["term.denoise"] > 0).all()


def refused(**base: object) -> str:
    study = {
        "study": "x",
        "data": "digits",
        "base": {"backbone": {"type": "dit", "patch": 4, "depth": 2, "width": 16, "heads": 2}, **base},
        "vary": {"batch": [8, 16]},
        "budget": {"images": 100},
        "evaluate": {"metrics": ["fd"], "samples": 16},
    }
    with pytest.raises(InputError) as raised:
        load_study(study)
    return str(raised.value)


def test_what_does_not_go_together_is_refused_when_the_study_is_read() -> None:
    """In one message, which says what to do."""
    message = refused(auxiliary=[{"type": "repa", "site": "blocks.7"}])
    assert "no block 'blocks.7'" in message and "it has: blocks.0, blocks.1" in message
    assert "'second_label: true'" in (message := refused(objective="mean_flow"))
    assert "rectified_flow" in message and "target 'flow'" in message
    assert "objective 'consistency'" in refused(solver="consistency")
    rectified = {"schedule": "rectified_flow", "target": "flow", "objective": "mean_flow"}
    second = {"type": "dit", "patch": 4, "depth": 2, "width": 16, "heads": 2, "second_label": True}
    assert "objective 'denoise'" in refused(**rectified, backbone=second, auxiliary=["contrastive"])
    assert "recompute: true" in refused(auxiliary=["dispersive"], micro=4)


def test_choices_that_an_objective_does_not_read_are_told() -> None:
    dit = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2}
    study = {
        "study": "x",
        "data": "digits",
        "base": {"backbone": dit},
        "vary": {"weighting": ["uniform", "min_snr"]},
        "budget": {"images": 500},
        "evaluate": {"metrics": ["fd"], "samples": 16},
    }
    told = {}
    for objective in ("denoise", "consistency"):
        study["base"] = {"backbone": dit, "objective": objective}
        told[objective] = [line for line in ineffective_settings(load_study(study)) if "does not read" in line]
    assert told["denoise"] == []
    assert told["consistency"] == [
        "vary.weighting: objective 'consistency' does not read 'weighting': its candidates are trained alike"
    ]


def test_auxiliaries_are_choices_of_a_study() -> None:
    """A list of lists; tables call them by their names."""
    study = {
        "study": "x",
        "data": "digits",
        "base": {"backbone": {"type": "dit", "patch": 4, "depth": 2, "width": 16, "heads": 2}},
        "vary": {"auxiliary": [[], [{"type": "dispersive"}], [{"type": "dispersive"}, {"type": "contrastive"}]]},
        "budget": {"images": 100},
        "evaluate": {"metrics": ["fd"], "samples": 16},
    }
    loaded = load_study(study)
    (dimension,) = loaded.space.dimensions
    assert dimension.choices == ("[]", "dispersive", "dispersive + contrastive") and dimension.baseline == "[]"
    study["vary"] = {"auxiliary": "all"}
    assert set(load_study(study).space.dimensions[0].choices) >= {"contrastive", "dispersive", "repa"}
    assert [part.name for part in loaded.candidate({"auxiliary": "dispersive + contrastive"}).auxiliary] == [
        "dispersive",
        "contrastive",
    ]
