"""Mixed precision: matrix products in 16 bits, and what loses by it in 32."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

# By the name under which torch's functions and methods are called. A pooling over small windows is
# no reduction in this sense: torch adds its few numbers up in fp32 and rounds once.
EXACT = frozenset(
    {
        *("layer_norm", "group_norm", "batch_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize"),
        *("norm", "vector_norm", "matrix_norm", "linalg_norm", "linalg_vector_norm", "linalg_matrix_norm"),
        *("softmax", "log_softmax", "softmin", "logsumexp", "softplus", "cosine_similarity"),
        *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "__pow__", "__rpow__", "square"),
        *("rsqrt", "reciprocal", "sum", "nansum", "mean", "nanmean", "var", "std", "var_mean", "std_mean"),
        *("prod", "cumsum", "cumprod", "logcumsumexp", "adaptive_avg_pool1d", "adaptive_avg_pool2d"),
        *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "cross_entropy", "nll_loss", "kl_div"),
    }
)

# What a processor that computes in a format says of itself in Linux's /proc/cpuinfo.
FLAGS = {
    torch.bfloat16: {"avx512_bf16", "amx_bf16", "bf16"},
    torch.float16: {"avx512_fp16", "amx_fp16", "asimdhp"},
}


class Exact(TorchFunctionMode):
    """Norms, softmax, exponentials, powers and reductions take 16-bit floats as fp32, and give fp32.

    torch.autocast does that on CUDA for most of them, and on the CPU for hardly any.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call func, its arguments widened where that matters."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in EXACT:
            args, kwargs = tree_map(_widened, args), tree_map(_widened, kwargs)
        return func(*args, **kwargs)


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in FLAGS else value


@contextlib.contextmanager
def mixed(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Compute linear layers, convolutions, attention in `dtype`; weights stay as they are (Micikevicius et al. 2018).

    Attention reads and writes `dtype`; the softmax inside of torch's kernel is in fp32.
    """
    with torch.autocast(device.type, dtype=dtype), Exact():
        yield


def training_problem(device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why a small network cannot be trained in `dtype` on the device; None if it can."""
    if device.type == "cuda" and dtype is torch.float16 and torch.cuda.get_device_capability(device) < (5, 3):
        return "this GPU has no arithmetic in it"
    kernel, weight, x = (
        torch.zeros(s, device=device, requires_grad=True) for s in ((8, 2, 3, 3), (8, 8), (2, 2, 3, 3))
    )
    try:
        with torch.enable_grad(), mixed(device, dtype):
            q = F.linear(F.conv2d(x, kernel).flatten(1), weight).view(1, 1, 2, 8)
            y = F.scaled_dot_product_attention(q, q, q)
        y.float().sum().backward()
    except (RuntimeError, NotImplementedError) as error:
        return str(error).partition("\n")[0]
    return None


def emulated(device: torch.device, dtype: torch.dtype, cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Return what the device lacks, so that torch computes in fp32 and converts; None where it lacks nothing known."""
    if device.type == "cuda":
        if dtype is not torch.bfloat16 or torch.cuda.is_bf16_supported(including_emulation=False):
            return None
        return "its compute capability is below 8.0"
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return None
    flags = {word for line in lines if line.startswith(("flags", "Features")) for word in line.split()}
    if not flags or flags & FLAGS[dtype]:
        return None
    return f"none of {', '.join(sorted(FLAGS[dtype]))} among its flags"
