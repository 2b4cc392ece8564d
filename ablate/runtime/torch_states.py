"""The global states of torch, of the process or of the thread: default dtype, threads, hooks, patched functions."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch.nn.modules import module as hooked

from ablate.runtime.states import GlobalState

FILL = "fill_uninitialized_memory"
DEVICES = ("cpu", "cuda")
SUBNORMAL, ONE = 1e-310, 1.0  # by names: a product of two literals is computed when the file is compiled
BACKENDS = (("generic", "all"), *((b, o) for b in ("cuda", "mkldnn") for o in ("all", "matmul", "conv", "rnn")))
PATCHED: tuple[ModuleType | type, ...] = (
    *(torch, torch.nn, torch.nn.functional, torch.nn.init, torch.optim),
    *(torch.Tensor, torch.nn.Module, torch.nn.Linear, torch.nn.Conv2d),
)
HOOKS = tuple(name for name in dir(hooked) if name.startswith("_global_") and isinstance(getattr(hooked, name), dict))


@cache
def torch_states() -> tuple[GlobalState, ...]:
    """Return the global states of torch; what is `fresh` is so unless somebody asked for something else."""
    return (
        GlobalState(
            "torch's default dtype",
            torch.get_default_dtype,
            torch.set_default_dtype,
            "give `dtype=` to the tensors and layers that need it",
            fresh=torch.float32,
        ),
        GlobalState(
            "torch's default device",
            _device,
            lambda saved: None,  # what is open is closed by the next state
            "name no device: what `build` makes is put where it belongs",
        ),
        GlobalState(
            "torch's open modes (of device, functions, dispatch)",
            lambda: (torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()),
            _close_modes,
            "use `with`, which leaves none open",
            fresh=(0, 0),
        ),
        GlobalState(
            "torch's gradient mode",
            torch.is_grad_enabled,
            lambda on: _ignore(torch.set_grad_enabled(on)),
            "use `with torch.no_grad()` or `with torch.enable_grad()`",
            fresh=True,
        ),
        GlobalState(
            "torch's inference mode",
            torch.is_inference_mode_enabled,
            _set_inference,
            "use `with torch.inference_mode()`",
            fresh=False,
        ),
        GlobalState(
            "torch's precision of fp32 products (TF32)",
            _precision,
            _set_precision,
            "say it by the study's `precision`, or for one product by `torch.autocast`",
            describe=_describe_changes,
        ),
        GlobalState(
            "torch's deterministic algorithms",
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
                getattr(torch.utils.deterministic, FILL),
            ),
            _set_deterministic,
            "choose an operator that is deterministic by itself",
            fresh=(False, False, True),
        ),
        GlobalState(
            "torch's settings of cuDNN, attention kernels and other backends",
            _backends,
            _set_backends,
            "use `with torch.backends.cudnn.flags(...)` or `with torch.nn.attention.sdpa_kernel(...)`",
            describe=_describe_changes,
        ),
        GlobalState(
            "torch's number of threads",
            torch.get_num_threads,
            torch.set_num_threads,
            "leave it: the executor shares the cores out among trials",
        ),
        GlobalState(
            "torch's autocast",
            lambda: (
                *((torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in DEVICES),
                torch.is_autocast_cache_enabled(),
            ),
            _set_autocast,
            "use `with torch.autocast(...)`, or the study's `precision`",
        ),
        GlobalState(
            "torch's anomaly detection",
            lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
            lambda saved: torch.set_anomaly_enabled(*saved),
            "use `with torch.autograd.detect_anomaly()` while you look for a fault",
            fresh=(False, True),
        ),
        GlobalState(
            "torch's treatment of subnormal numbers",
            lambda: SUBNORMAL * ONE == 0.0,  # the processor's own mode, the same for Python's numbers
            lambda on: _ignore(torch.set_flush_denormal(on)),
            "round small numbers to zero by hand",
            fresh=False,
        ),
        GlobalState(
            "torch's hooks for all modules",
            lambda: {name: dict(getattr(hooked, name)) for name in HOOKS},
            _set_hooks,
            "register the hook on your own module",
            describe=lambda before, after: (f"{_count(before)} hooks", f"{_count(after)} hooks"),
        ),
        GlobalState(
            "torch's own functions and classes",
            lambda: {place: vars(place).copy() for place in PATCHED},
            _set_functions,
            "call your own function by its own name",
            describe=_describe_functions,
            differs=lambda before, after: bool(_replaced(before, after)),
            same=_unpatched,
        ),
        GlobalState(
            "torch's global random state",
            _random,
            _set_random,
            "leave it as it is, it is seeded for each trial; "
            "for fixed numbers draw from your own `torch.Generator().manual_seed(0)`",
            describe=lambda before, after: (f"seeded by {before[0]}", f"seeded by {after[0]}"),
            differs=lambda before, after: bool(before[0] != after[0]),
            seeded=lambda value: (value, None, None),
        ),
        GlobalState(
            "torch's print options",
            lambda: dict(vars(torch._tensor_str.PRINT_OPTS)),
            lambda saved: vars(torch._tensor_str.PRINT_OPTS).update(saved),
            None,
        ),
    )


def _device() -> torch.device:
    return torch.empty(0).device


def _close_modes(saved: tuple[int, int]) -> None:
    while torch._C._len_torch_function_stack() > saved[0]:
        torch._C._pop_torch_function_stack()
    while torch._C._len_torch_dispatch_stack() > saved[1]:
        torch._C._pop_torch_dispatch_stack(None)
    if saved[0] == 0:
        torch._GLOBAL_DEVICE_CONTEXT.device_context = None


def _set_inference(on: bool) -> None:
    torch.inference_mode(on).__enter__()  # stays: what was left open cannot be closed from here


def _precision() -> dict[str, str]:
    settings = {}
    try:
        with warnings.catch_warnings():  # torch 2.9 advises the newer way, which is read below
            warnings.simplefilter("ignore", UserWarning)
            settings["all"] = torch.get_float32_matmul_precision()
    except RuntimeError:  # it was said in the newer way, which the older cannot tell
        settings["all"] = "said by backend"
    for backend, operation in BACKENDS:
        settings[f"{backend} {operation}"] = torch._C._get_fp32_precision_getter(backend, operation)
    return settings


def _set_precision(saved: dict[str, str]) -> None:
    if saved["all"] in ("highest", "high", "medium"):
        torch.set_float32_matmul_precision(saved["all"])
    for backend, operation in BACKENDS:
        if torch._C._get_fp32_precision_getter(backend, operation) != (value := saved[f"{backend} {operation}"]):
            torch._C._set_fp32_precision_setter(backend, operation, value)


def _set_deterministic(saved: tuple[bool, bool, bool]) -> None:
    torch._C._set_deterministic_algorithms(saved[0], warn_only=saved[1])  # without what compiles
    setattr(torch.utils.deterministic, FILL, saved[2])


def _switches() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    cudnn, cuda, mkldnn = torch.backends.cudnn, torch.backends.cuda, torch.backends.mkldnn

    def of(place: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        return (lambda: getattr(place, name)), (lambda value: setattr(place, name, value))

    switches = {f"cudnn.{name}": of(cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
    switches |= {
        f"cuda.matmul.{name}": of(cuda.matmul, name)
        for name in ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
    }
    switches["mkldnn.enabled"] = of(mkldnn, "enabled")
    switches["opt_einsum.enabled"] = of(torch.backends.opt_einsum, "enabled")
    for name in ("flash", "mem_efficient", "math", "cudnn"):
        switches[f"cuda.{name}_sdp"] = (getattr(cuda, f"{name}_sdp_enabled"), getattr(cuda, f"enable_{name}_sdp"))
    return switches


SWITCHES = _switches()


def _backends() -> dict[str, Any]:
    return {name: read() for name, (read, _) in SWITCHES.items()}


def _set_backends(saved: dict[str, Any]) -> None:
    for name, value in saved.items():
        read, write = SWITCHES[name]
        if read() != value:
            write(value)


def _set_autocast(saved: tuple[Any, ...]) -> None:
    for device, (enabled, dtype) in zip(DEVICES, saved[:-1], strict=True):
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)
    torch.set_autocast_cache_enabled(saved[-1])


def _set_hooks(saved: dict[str, dict[Any, Any]]) -> None:
    for name, hooks in saved.items():
        current = getattr(hooked, name)
        current.clear()
        current.update(hooks)


def _count(hooks: dict[str, dict[Any, Any]]) -> int:
    return sum(map(len, hooks.values()))


def _unpatched(before: Any) -> bool:
    """Return whether all names of torch stand for what they stood for; a list finds itself equal by identity first."""
    try:
        return all(list(vars(place).values()) == list(members.values()) for place, members in before.items())
    except Exception:  # noqa: BLE001 - an array among them, which is not to be compared by `==`
        return False


def _replaced(before: Any, after: Any) -> list[tuple[Any, str]]:
    """Return the names of torch that stand for a stranger's function now; what torch itself changes is no harm."""
    replaced = []
    for place, members in before.items():
        now = after[place]
        if len(members) == len(now) and all(map(operator.is_, members.values(), now.values())):
            continue  # quick, because it is nearly always so
        moved = [name for name, value in members.items() if name in now and now[name] is not value and callable(value)]
        replaced += [
            (place, name) for name in moved if not str(getattr(now[name], "__module__", "torch")).startswith("torch")
        ]
    return replaced


def _describe_functions(before: Any, after: Any) -> tuple[str, str]:
    names = [
        f"{place.__module__ + '.' if isinstance(place, type) else ''}{place.__name__}.{name}"
        for place, name in _replaced(before, after)
    ]
    return "torch's", f"replaced: {', '.join(names)}"


def _set_functions(saved: Any) -> None:
    now = {place: dict(vars(place)) for place in saved}
    for place, name in _replaced(saved, now):
        setattr(place, name, saved[place][name])


def _random() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() and torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    return torch.initial_seed(), torch.get_rng_state(), cuda


def _set_random(saved: tuple[Any, ...]) -> None:
    torch.set_rng_state(saved[1])
    if saved[2] is not None:
        torch.cuda.set_rng_state(saved[2])


def _describe_changes(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, str]:
    names = [name for name in before if before[name] != after.get(name)]
    return tuple(", ".join(f"{name}={values[name]}" for name in names) for values in (before, after))  # type: ignore


def _ignore(value: object) -> None:
    """For setters that give something back."""
