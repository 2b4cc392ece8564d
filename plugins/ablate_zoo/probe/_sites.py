"""Where a probe looks: the blocks of any network, the modules of a name, and what comes out of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import network_blocks


def sites(network: nn.Module) -> dict[str, nn.Module]:
    """Return the blocks of a network in their order, by name: what a curve over depth has on its axis.

    They are those of `ablate.api.network_blocks`; of a network that repeats nothing, its own children.
    """
    return network_blocks(network) or dict(network.named_children())


def modules_named(network: nn.Module, name: str) -> dict[str, nn.Module]:
    """Return the submodules whose own name is `name`, by their path; of one inside another the outer one."""
    modules: dict[str, nn.Module] = {}
    for path, module in network.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in modules)
        if path.rpartition(".")[2] == name and not inside:
            modules[path] = module
    return modules


def first_tensor(output: object) -> Tensor | None:
    """Return a module's output, or the first tensor in it."""
    if isinstance(output, Tensor):
        return output
    return next((x for x in output if isinstance(x, Tensor)), None) if isinstance(output, tuple | list) else None


def place(name: str, features: Tensor) -> str:
    """Return the site's name; of feature maps (B, C, H, W) with their size, which is the level of a U-Net."""
    return f"{name} {features.shape[2]}×{features.shape[3]}" if features.ndim == 4 else name


def mean_square(x: Tensor) -> Tensor:
    """Compute the mean of squares in fp32, without a copy of x. A 0-d tensor."""
    return torch.linalg.vector_norm(x.detach(), dtype=torch.float32).square() / x.numel()
