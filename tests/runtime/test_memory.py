"""Memory: what a step is estimated to take, what it takes, and what parts and recomputation save of it."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from segments_for_tests import CACHE, DATA, KNOWN, candidate, job, run
from torch import nn

from ablate.candidates.candidate import Candidate, compose
from ablate.errors import SpecError
from ablate.kinds.backbone import network_blocks
from ablate.runtime import memory, meta_forms
from ablate.runtime.memory import SLACK, Gauge, Watch, allocated, freed_memory_kept, release_memory
from ablate.runtime.recompute import outermost
from ablate.study.load import load_study
from ablate.training import memory_estimate
from ablate.training.learner import Images, Learner
from ablate.training.memory_estimate import WORKSPACE, Footprint, Live, footprint
from ablate_zoo.probe._sites import sites

CPU = torch.device("cpu")
DIT = {"type": "dit", "patch": 2, "depth": 3, "width": 64, "heads": 2}
UNET = {"type": "unet", "width": 16, "multipliers": [1, 2], "blocks": 1, "dropout": 0.3}
UVIT = {"type": "uvit", "patch": 2, "depth": 3, "width": 32, "heads": 2}
STUDIES = Path(__file__).parents[2] / "studies"


def dit(**more: Any) -> Candidate:
    return candidate(batch=16, more={"backbone": DIT, "ema": "none", **more})


def of(config: Candidate, micro: int | None = None) -> Footprint:
    return footprint(config, DATA.setting(), "cpu", micro)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_step_on_the_meta_device_keeps_what_a_real_one_keeps(precision: str, recompute: bool) -> None:
    """Forward, then backward, on the CPU: the storages that are alive in between, and the most at any time."""
    config, live = dit(precision=precision, recompute=recompute), Live()
    learner = Learner(config, DATA.setting(), Images(DATA.load(CACHE), CPU), 0, CPU, None)
    live.take([*learner.network.parameters(), *learner.network.buffers()])
    inputs = (torch.zeros(16, *DATA.setting().shape), torch.zeros(16), torch.zeros(16, dtype=torch.int64))
    batch = [torch.zeros(16, *DATA.setting().shape) for _ in range(3)]
    live.take(batch)
    before = live.now
    with live:
        loss = learner.predict(*inputs).float().square().mean()
        saved = live.now - before
        loss.backward()
    estimate = of(config)
    assert estimate.activations - sum(part.nbytes for part in batch) == pytest.approx(saved, rel=0.03)
    assert estimate.peak - estimate.optimizer == pytest.approx(live.peak, rel=0.05)


def test_what_a_training_holds() -> None:
    """4W + A with Adam, half the activations in 16 bits; every copy that optimizer and average keep is counted."""
    plain = of(dit())
    weights = 4 * sum(p.numel() for p in dit().backbone.build(DATA.setting()).parameters())
    assert plain.gradients == weights <= plain.weights < 1.02 * weights  # and the table of positions
    assert plain.optimizer == pytest.approx(2 * weights, rel=1e-3) and plain.averages == 0
    assert of(dit(ema="constant")).averages == weights
    assert of(dit(optimizer={"type": "sgd", "momentum": 0})).optimizer == 0
    assert plain.total - WORKSPACE >= max(plain.peak, 4 * weights + plain.activations)
    assert 0.45 < of(dit(precision="bf16")).activations / plain.activations < 0.75
    assert of(dit(guidance="classifier")).companion > 0 == plain.companion


def test_parts_and_recomputation_save_activations() -> None:
    plain = of(dit())
    twice = of(candidate(batch=32, more={"backbone": DIT, "ema": "none"}))
    assert twice.activations == pytest.approx(2 * plain.activations, rel=0.01)
    parts = of(dit(micro=4))
    assert parts == of(dit(), micro=4)
    assert parts.activations < 0.35 * plain.activations and parts.optimizer == plain.optimizer
    assert of(dit(recompute=True)).peak < plain.peak
    assert of(dit(recompute=True)).activations < 0.4 * plain.activations


def test_an_estimate_does_not_depend_on_what_was_estimated_before() -> None:
    """Forms of operations are shared by all candidates: their shapes, formats and options must tell them apart."""
    others = [
        {"precision": "bf16"},
        {"recompute": True},
        {"micro": 4},
        {"guidance": "classifier", "target": "v"},
        {"optimizer": {"type": "sgd", "momentum": 0.9}},
        {"backbone": {**DIT, "depth": 1, "width": 32}},
        {"backbone": UNET},
        {"backbone": UVIT},
    ]
    forget()
    together = [of(dit(**more)) for more in others]
    for more, estimate in zip(others, together, strict=True):
        forget()
        assert of(dit(**more)) == estimate


def forget() -> None:
    for known in ("_simulate", "_simulate_passes", "_state_of_one", "_averages"):
        getattr(memory_estimate, known).cache_clear()
    meta_forms.FORMS.clear()


def test_what_is_kept_beside_the_passes_takes_no_other_simulation() -> None:
    """Optimizer, average and guidance, and a weighting that trains nothing; each with what it takes itself."""
    forget()
    plain = of(dit())
    kept = [
        *({"optimizer": {"type": "adamw", "lr": 1e-3}}, {"optimizer": "sgd"}, {"ema": "constant"}),
        *({"weighting": "edm"}, {"guidance": {"type": "cfg", "scale": 4}}),
    ]
    beside = [of(dit(**more)) for more in kept]
    assert memory_estimate._simulate_passes.cache_info().misses == 1
    assert [one.optimizer < plain.optimizer for one in beside] == [False, True, False, False, False]
    assert [one.averages > 0 for one in beside] == [False, False, True, False, False]
    learned = of(dit(weighting="edm2"))
    assert learned.weights > plain.weights and learned.optimizer > plain.optimizer
    assert memory_estimate._simulate_passes.cache_info().misses == 2


QUICK = {"dit_conditioning.yaml", "repa.yaml", "unet_fusion.yaml"}  # and all others where there is time
FILES = sorted(path.name for path in STUDIES.glob("*.yaml"))


@pytest.mark.parametrize("name", [pytest.param(f, marks=[] if f in QUICK else pytest.mark.thorough) for f in FILES])
def test_it_is_as_the_process_measures_it(name: str) -> None:
    """The baseline of every ready study: estimated, and measured, within 20 %."""
    study = load_study(STUDIES / name, overrides=["data={type: digits, size: 16}"]).study
    gauge = Gauge(CPU)
    images = Images(study.data.load(CACHE), CPU)
    gauge.begin_training()
    learner = Learner(study.base, study.data.setting(), images, 0, CPU, None)
    for _ in range(2):  # the optimizer's state is there from the second on
        learner.step(1e5)
        gauge.step_done()
    gauge.end_training()
    estimate = footprint(study.base, study.data.setting(), "cpu").total
    assert estimate == pytest.approx(gauge.training, rel=0.2, abs=4e6)  # of a small one, what was freed before is used


def test_what_is_allocated_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    if allocated() is None:
        pytest.skip("the C library does not tell")
    looked = threading.Event()

    def look() -> int | None:
        count = allocated()
        looked.set()
        return count

    monkeypatch.setattr(memory, "allocated", look)
    watch = Watch()
    blocks_held = [torch.zeros(1 << 20) for _ in range(4)]
    for _ in range(2):  # one look may have begun before
        looked.clear()
        assert looked.wait(60)
    del blocks_held
    tensor = torch.zeros(1 << 18)
    assert watch.end() == pytest.approx(16 << 20, rel=0.02)
    assert tensor.nbytes == 1 << 20


def test_what_an_earlier_trial_left_in_cycles_goes() -> None:
    release_memory(CPU)
    gc.disable()
    try:
        before, loop = allocated() or 0, []
        loop += [loop, torch.zeros(8 * SLACK // 4)]
        del loop
        assert (allocated() or 0) > before + 4 * SLACK
        release_memory(CPU)
        assert (allocated() or 0) < before + SLACK
    finally:
        gc.enable()


@pytest.mark.skipif(allocated() is None, reason="this C library does not tell what is allocated")
def test_what_stays_for_good_is_looked_at_for_cycles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    release_memory(CPU)
    looks: list[None] = []
    monkeypatch.setattr("ablate.runtime.memory.gc.collect", lambda: looks.append(None))
    kept = torch.zeros(2 * SLACK // 4)  # such as a library that a first trial has imported
    for _ in range(3):
        release_memory(CPU)
    assert len(looks) == 1
    del kept


def test_what_a_trial_took_is_recorded(tmp_path: Path) -> None:
    config = dit()
    record = run(job(tmp_path, config, {"steps": 3}, estimated_memory_bytes=of(config).total))["record"]
    assert record["estimated_memory_bytes"] == of(config).total
    assert 0 < record["train_memory_bytes"] < record["peak_memory_bytes"]
    resumed = run(job(tmp_path, config, {"steps": 3}))["record"]
    assert resumed["train_memory_bytes"] == record["train_memory_bytes"]


@pytest.mark.parametrize("more", [{}, {"precision": "bf16"}, {"micro": 8}, {"backbone": UNET}, {"backbone": UVIT}])
def test_recomputed_gradients_are_the_same(more: dict[str, Any]) -> None:
    """Dropout, on the second pass, draws what it drew on the first."""
    gradients = []
    for recompute in (False, True):
        config = candidate(more={"backbone": {**DIT, "dropout": 0.3}, "recompute": recompute, **more})
        learner = Learner(config, DATA.setting(), Images(DATA.load(CACHE), CPU), 0, CPU, None)
        with torch.no_grad():  # the last layer and the gates begin at zero, and nothing would reach the blocks
            for p in learner.network.parameters():
                p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
        learner.network.train()
        loss = learner.gradients(*learner.batch())
        gradients.append([loss, *(p.grad for p in learner.parameters)])
        assert all("forward" not in vars(block) for block in network_blocks(learner.network).values())  # nothing stays
    assert sum(bool(g.any()) for g in gradients[0]) > 20
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))


def test_the_blocks_are_the_members_of_lists() -> None:
    inner = nn.ModuleList([nn.Linear(2, 2)])
    block = nn.Sequential(nn.Linear(2, 2))
    block.parts = inner
    network = nn.Module()
    network.first = nn.Linear(2, 2)
    network.levels = nn.ModuleList([nn.ModuleList([block, nn.Identity()]), block])
    assert network_blocks(network) == {"levels.0.0": block, "levels.0.1": network.levels[0][1]}
    assert network_blocks(nn.Linear(2, 2)) == {}


def test_a_network_that_names_its_blocks_is_believed_by_probes_and_by_activation_checkpointing() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
            self.other = nn.ModuleList([nn.Linear(2, 2)])

        def sites(self) -> dict[str, nn.Module]:
            return {"first": self.body[0], "all": self.body, "again": self.body}

    network = Named()
    blocks = network_blocks(network)
    assert blocks == {"first": network.body[0], "all": network.body}
    assert outermost(blocks.values()) == [network.body]
    assert sites(network) == blocks


def test_parts_that_do_not_divide_the_batch_are_refused() -> None:
    with pytest.raises(SpecError, match="micro 10 does not divide the batch of 64; the nearest that does: 8"):
        compose({"backbone": "dit", "batch": 64, "micro": 10}, KNOWN)


def test_how_a_step_fits_into_memory_is_no_part_of_the_identity() -> None:
    assert dit(micro=4, recompute=True).digest() == dit().digest() != dit(batch=32).digest()


FREED = """
import resource, torch
from ablate.runtime.memory import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(4 << 20).fill_(1)  # 16 MiB, 4,096 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with freed_memory_kept(torch.device("cpu")):
    [faults() for _ in range(20)]  # the heap grows until such a piece lies there whole
    print(sum(faults() for _ in range(8)))
"""


def test_what_a_pack_frees_is_found_again() -> None:
    """Its pages are not zeroed anew; in a process of its own, whose heap nobody has cut up."""
    told = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True).stdout
    assert int(told) < 4096
    with freed_memory_kept(torch.device("meta")):
        pass
