"""What is global for a process: no trial leaves a trace in it for the next, and whoever changes it fails by himself."""

from __future__ import annotations

import decimal
import locale
import os
import random
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from segments_for_tests import PLUGIN, job, run, timeless

from ablate.candidates.candidate import BuildError, compose, cost_of
from ablate.discovery.catalog import catalog
from ablate.runtime.isolation import Before, GlobalStateError, Turns, isolated, watched
from ablate.runtime.randomness import seed_all
from ablate.runtime.states import Seed
from ablate.spec.component import InputSpec

LEAKS = str(Path(__file__).parents[1] / "helpers" / "leaks_for_tests.py")
KINDS = ("dtype", "gradients", "seed", "numpy seed", "python seed", "folder", "environment")


def _open_mode() -> None:
    torch.device("meta").__enter__()


def _patch() -> None:
    torch.nn.functional.silu = lambda x: x  # type: ignore[assignment]


CHANGES: dict[str, Callable[[], Any]] = {
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "open modes": _open_mode,
    "gradient mode": lambda: torch.set_grad_enabled(False),
    "fp32 products": lambda: torch.set_float32_matmul_precision("medium"),
    "deterministic algorithms": lambda: torch._C._set_deterministic_algorithms(True),
    "cuDNN": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "attention kernels": lambda: torch.backends.cuda.enable_flash_sdp(False),
    "number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "subnormal": lambda: torch.set_flush_denormal(True),
    "hooks": lambda: torch.nn.modules.module.register_module_forward_hook(lambda *_: None),
    "torch.nn.functional.silu": _patch,
    "torch's global random": lambda: torch.manual_seed(0),
    "of rewound torch's global random": lambda: torch.set_rng_state(torch.Generator().manual_seed(3).get_state()),
    "numpy's global random": lambda: np.random.seed(0),
    "Python's global random": lambda: random.seed(0),
    "floating-point errors": lambda: np.seterr(all="raise"),
    "current folder": lambda: os.chdir("/"),
    "LEAKED='1'": lambda: os.environ.__setitem__("LEAKED", "1"),
    "decimal": lambda: setattr(decimal.getcontext(), "prec", 5),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"),
}


@pytest.mark.parametrize("state_name", CHANGES)
def test_what_is_changed_is_told_with_its_line_and_put_back(state_name: str) -> None:
    change = CHANGES[state_name]
    with isolated():
        Seed.set(5)
        torch.manual_seed(5)
        before = Before()
        with pytest.raises(GlobalStateError) as raised, watched("somebody", change):
            change()
        assert state_name.removeprefix("of rewound ") in str(raised.value) and "instead" in str(raised.value)
        assert f"{__file__}:" in str(raised.value)
        assert before.changes() == []


def test_what_may_be_changed_is_put_back_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    before = (list(sys.path), list(warnings.filters), torch.rand(1, generator=torch.Generator().manual_seed(0)))
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index, union-attr]
    with isolated() as inside:
        sys.path.insert(0, "/nowhere")
        warnings.simplefilter("ignore")
        torch.randn(5), np.random.randn(2000), [random.random() for _ in range(2000)]
        assert inside.changes() == []  # to draw is no harm
    assert (list(sys.path), list(warnings.filters)) == before[:2]
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[2]
    assert (np.random.get_state()[1] == states[1]).all()  # type: ignore[index]


def test_a_seed_of_ablates_own_is_told_from_a_components_at_every_depth() -> None:
    """What a generator is after a seed is remembered of the last one; an inner `isolated` goes back to an earlier."""
    with isolated():
        seed_all(5)
        before = Before()
        with isolated():
            seed_all(6)
            assert before.changes() == []
        assert before.changes() == []
        seed_all(7)
        assert before.changes() == []
        np.random.seed(8)
        assert [change.state.name for change in before.changes()] == ["numpy's global random state"]


def test_a_library_that_is_imported_may_add_to_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "adds_for_test.py").write_text("import os\nos.environ['ADDED_FOR_TEST'] = '1'\n")
    with watched("somebody"):
        __import__("adds_for_test")
    assert os.environ.pop("ADDED_FOR_TEST") == "1"


def test_an_exception_that_follows_from_a_change_tells_the_change() -> None:
    with pytest.raises(GlobalStateError, match=r"default dtype.*; then: ZeroDivisionError"), watched("somebody"):
        torch.set_default_dtype(torch.float64)
        1 / 0  # noqa: B018
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("when", ["build", "train"])
@pytest.mark.parametrize("what", KINDS)
def test_the_trial_that_leaks_fails_and_the_one_after_it_is_as_ever(tmp_path: Path, what: str, when: str) -> None:
    components = catalog((LEAKS, PLUGIN))
    spec = {"solver": {"type": "ddim", "steps": 2}, "batch": 32}

    def job_of(folder: str, **fields: str) -> dict[str, Any]:
        leaking = compose({**spec, "backbone": {"type": "leaky", **fields}}, components)
        sound = compose({**spec, "backbone": "leaky"}, components)  # whose cost can be counted
        more = {"candidate": leaking.spec(), "plugins": [LEAKS, PLUGIN], "folder": str(tmp_path / folder)}
        return {**job(tmp_path, sound, {"steps": 2}), **more}

    first = run(job_of("before"))
    with pytest.raises(GlobalStateError) as raised:
        run(job_of("leaks", what=what, when=when))
    assert ("backbone 'leaky', while it is built" if when == "build" else "in a step of training") in str(raised.value)
    assert f"{LEAKS}:" in str(raised.value) or "then: " in str(raised.value)
    assert timeless(run(job_of("after"))["record"]) == timeless(first["record"])  # its draws from numpy too


@pytest.mark.parametrize("what", KINDS)
def test_counting_a_candidate_that_leaks_is_refused_and_leaves_no_trace(what: str) -> None:
    leaking = compose({"backbone": {"type": "leaky", "what": what}}, catalog((LEAKS,)))
    before = Before()
    with pytest.raises(BuildError, match=rf"backbone 'leaky', while it is built.*{LEAKS}:\d+"):
        cost_of(leaking.backbone, InputSpec((1, 8, 8), None))
    assert before.changes() == []


def test_a_driver_that_counts_a_candidate_waits_for_the_end_of_a_step() -> None:
    turns, log = Turns(), []
    began, done = threading.Event(), threading.Event()

    def work() -> None:
        with turns.working():
            began.set()
            while not done.is_set():
                log.append("begin")
                log.append("end")
                turns.pause()

    thread = threading.Thread(target=work)
    thread.start()
    began.wait()
    with turns.between(30) as came:
        assert came
        seen = list(log)
        assert seen[-1] == "end" and log == seen  # nothing moves meanwhile
        done.set()
    thread.join(30)
    with turns.working(), ThreadPoolExecutor(1) as other:
        other.submit(lambda: turns.working().__enter__()).result(30)  # a second job does not wait for the first
    with turns.between(0) as came:
        assert came  # at once where no job runs
