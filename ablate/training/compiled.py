"""Compiled networks: a network's passes in training by torch.compile, and as they are where that cannot be.

torch.compile: Ansel et al. 2024.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import nn

from ablate.runtime.memory import out_of_memory
from ablate.spec.explain import exception_summary

if TYPE_CHECKING:
    from ablate.training.learner import Learner

Mode = Literal["default", "max-autotune"]
# Not `max-autotune` itself, which replays CUDA graphs: their outputs live until the next pass, and a step may need two.
OPTIONS: dict[Mode, str] = {"default": "default", "max-autotune": "max-autotune-no-cudagraphs"}
FOLDER, CACHE = "TORCHINDUCTOR_CACHE_DIR", "compiled"
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
HOOKED = "something reads activations in every pass (a term of the loss, or a hook of the network's own)"
NO_GRAPH = "torch found nothing in it that can be compiled"


class Compilation(NamedTuple):
    """What came of compiling a network."""

    mode: Mode
    seconds: float  # that it took, the first passes included
    graphs: int  # that were compiled; more than one for a pass where plain Python lies between
    eager: str | None  # why the network runs as it is; None where it runs compiled


class CompiledNetwork:
    """A network in training: compiled after `warm_up`, and as it is before that.

    What is compiled decides time, not results: sums are taken in another order, so numbers agree up to rounding, and
    dropout draws the same masks. A pass in which hooks look on, and one of another shape than those of the warm-up, is
    taken by the network as it is. The module itself is not changed: its state, copies and hooks are those of before.
    """

    def __init__(self, network: nn.Module, mode: Mode) -> None:
        self._network = network
        self._modules = list(network.modules())
        self._mode = mode
        self._compiled: Callable[..., Any] | None = None
        self._warming = False
        self._hooked = False
        self._graphs = 0
        self.result = Compilation(mode, 0.0, 0, "it was not compiled yet")

    def __call__(self, *inputs: Any) -> Any:
        """Evaluate the network."""
        if self._compiled is None:
            return self._network(*inputs)
        if any(getattr(module, hooks) for module in self._modules for hooks in HOOKS):
            self._hooked = True
            return self._network(*inputs)
        if self._warming:
            return self._compiled(*inputs)
        with torch.compiler.set_stance("eager_on_recompile"):  # nothing is compiled in the middle of a training
            return self._compiled(*inputs)

    def warm_up(self, passes: Callable[[], object], device: torch.device, cache: Path) -> None:
        """Compile what `passes` does: the passes of a step, forward and backward.

        cache: the folder in whose `compiled` generated code is kept, unless TORCHINDUCTOR_CACHE_DIR names another.
        Where the compiler fails, `result` says why, and the network runs as it is. Raises what a lack of memory raises.
        """
        begun = time.monotonic()
        failure = self._attempt(passes, device, cache / CACHE)
        if failure is not None and _in_its_files(failure):  # such as a library that a killed process left half written
            (cache / CACHE).mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix="anew-", dir=cache / CACHE))
            failure = self._attempt(passes, device, fresh, anew=True)
        reason = None
        if failure is not None:
            reason = f"torch could not compile it: {_first_line(failure)}"
        elif self._graphs == 0:
            reason = HOOKED if self._hooked else NO_GRAPH
        if reason is not None:
            self._compiled = None
        self.result = Compilation(self._mode, time.monotonic() - begun, self._graphs, reason)

    def _attempt(
        self, passes: Callable[[], object], device: torch.device, folder: Path, anew: bool = False
    ) -> Exception | None:
        """Compile; return why that failed."""
        import torch._inductor.config as inductor

        self._graphs, self._warming = 0, True
        # On the CPU the cores are shared out among trials.
        own: dict[str, Any] = {"compile_threads": 1} if device.type == "cpu" else {}
        try:
            with _keeping_code_in(folder, anew), inductor.patch(own), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what a compiler says of its own parts, nobody here can heed
                self._compiled = torch.compile(self._network, backend=self._backend(), dynamic=False)
                passes()
        except Exception as error:  # whatever a compiler raises; the network's own errors come again
            if out_of_memory(error):
                raise
            return error
        finally:
            self._warming = False
        return None

    def _backend(self) -> Callable[..., Any]:
        """Return torch's own compiler, which counts what it compiles."""
        from torch._inductor import list_mode_options
        from torch._inductor.compile_fx import compile_fx

        options = {**list_mode_options(OPTIONS[self._mode]), "fallback_random": True}

        def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
            self._graphs += 1
            return compile_fx(graph, inputs, config_patches=options)

        return backend


def forget_compiled() -> None:
    """Forget what earlier trials of this process compiled: torch keeps a few variants of a function, and no more."""
    import torch._dynamo

    torch._dynamo.reset()


def compiler_problem(device: torch.device) -> str | None:
    """Return what is missing on this machine to compile networks; None where nothing is known to be."""
    if device.type == "cuda":
        return None if importlib.util.find_spec("triton") else "the package triton is not installed"
    from torch._inductor import cpp_builder

    try:
        cpp_builder.get_cpp_compiler()
    except Exception:  # noqa: BLE001 - of classes that moved between versions
        return "there is no C++ compiler here (install g++, or name one in CXX)"
    return None


@contextlib.contextmanager
def _keeping_code_in(folder: Path, anew: bool) -> Iterator[None]:
    """Let torch keep generated code in a folder, as long as the `with` lasts, unless the user names one."""
    before = os.environ.get(FOLDER)
    if before is None or anew:
        os.environ[FOLDER] = str(folder)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(FOLDER, None)
        else:
            os.environ[FOLDER] = before


def _in_its_files(error: BaseException | None) -> bool:
    """Return whether the cause, or its cause, is a file: one that is not there, or not whole."""
    while error is not None:
        inner = getattr(error, "inner_exception", None)
        if isinstance(error, ImportError | OSError | EOFError) or (inner is not None and _in_its_files(inner)):
            return True
        if type(error).__name__ == "InductorError" and ("ImportError" in str(error) or "OSError" in str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in exception_summary(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def compile_step(learner: Learner, compiled: CompiledNetwork) -> None:
    """Compile a learner's network by the passes of its next step, of which nothing is left."""
    held = [(buffer, buffer.clone()) for part in (learner.network, learner.terms) for buffer in part.buffers()]
    try:
        learner.seed_dropout()
        compiled.warm_up(lambda: learner.accumulate(*learner.batch()), learner.device, learner.data.cache)
    finally:
        learner.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, value in held:
                buffer.copy_(value)
