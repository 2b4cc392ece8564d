"""A network whose weights lie in shards over the processes of a group: parameters, gradients, moments and averages.

Fully sharded data parallelism: Rajbhandari et al. 2020, "ZeRO" (stage 3), and Zhao et al. 2023, "PyTorch FSDP", by
torch's `fully_shard` (FSDP2). A block's weights are gathered for its passes and dropped again. What stands in the place
of a parameter is a DTensor: norms, clipping, the optimizer and the averages compute with it as with the whole tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

from ablate.kinds.backbone import network_blocks
from ablate.runtime.recompute import outermost


def shard(network: nn.Module, device: torch.device, size: int) -> None:
    """Shard the parameters of a network over the group of all processes, each by its first dimension.

    Every process calls it with the same weights, which may lie elsewhere than on the device. Gradients are summed over
    the processes, not averaged. Raises ValueError where it has a parameter that cannot be cut.
    """
    if (why := uncut(network)) is not None:
        raise ValueError(why)
    mesh = init_device_mesh(device.type, (size,))
    parts = [*outermost(network_blocks(network).values()), network]
    for part in parts:
        part.register_forward_hook(_no_views)  # before that of torch, which sees what this one gives
        fully_shard(part, mesh=mesh)
    for part in parts:
        part.set_gradient_divide_factor(1.0)  # type: ignore[operator]
        part.set_force_sum_reduction_for_comms(True)  # type: ignore[operator]


def uncut(network: nn.Module) -> str | None:
    """Return which parameter of a network cannot be cut; None where all can."""
    name = next((name for name, p in network.named_parameters() if p.ndim == 0), None)
    return None if name is None else f"its parameter {name!r} is a single number, without a dimension to be cut along"


def _no_views(module: nn.Module, inputs: object, output: object) -> object:
    """Give a module's outputs memory of their own: what is done to a view in place would lose torch's backward hook."""
    return tree_map(lambda value: value.clone() if isinstance(value, Tensor) and value._is_view() else value, output)


def gathered(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Return the tensors as if nothing were sharded, in host memory; nothing where they are not to be kept.

    Every process of the group calls it, with the same names in the same order.
    """
    whole: dict[str, Tensor] = {}
    for name, value in tensors.items():
        full = value.detach()
        if isinstance(full, DTensor):
            full = full.full_tensor()
        if keep:
            whole[name] = full.cpu()
    return whole


def spread(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, sharded where those of the same name and shape in `like` are."""
    return {name: _spread(value, like.get(name)) for name, value in tensors.items()}


def _spread(value: Tensor, like: Tensor | None) -> Tensor:
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    placed = value.to(like.device)
    return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)


def spread_state(state: dict[str, object], optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """Return an optimizer's state_dict with what has the shape of its parameter sharded as that is."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    per_parameter = {
        index: {name: _spread(v, parameters[index]) if isinstance(v, Tensor) else v for name, v in values.items()}
        for index, values in state["state"].items()  # type: ignore[attr-defined]
    }
    return {**state, "state": per_parameter}


def whole(value: Tensor) -> Tensor:
    """Return a number of the whole training, such as a norm; every process of the group calls it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def beside_shards(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Return those parameters that are whole on every device."""
    return [parameter for parameter in parameters if not isinstance(parameter, DTensor)]
