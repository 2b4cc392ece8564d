"""The passes of several networks of one shape as one: parameters stacked, the forward pass by `torch.func.vmap`.

Horizontal fusion of trainings: Wang et al. 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ablate.kinds.backbone import Backbone
from ablate.runtime.isolation import isolated
from ablate.runtime.memory import out_of_memory
from ablate.runtime.stack import linear, one_by_one, over_stack
from ablate.spec.component import InputSpec
from ablate.spec.explain import exception_summary


class PackedPassError(RuntimeError):
    """Raised where torch.func cannot take the passes of such networks as one; its text says why."""


class PackedPass:
    """Networks that have all their weights in one place: stacked, each a view of its own part.

    What is done to a network's parameters in place, as optimizers do, is done to its part, so nobody else needs to
    know. Buffers that all have alike (tables of positions) are shared in the pass; others are stacked. A pass draws
    nothing: `vmap` refuses random numbers, since those of one network alone could not be drawn.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = list(networks)
        first = self.networks[0]
        self._parameters: dict[str, Tensor] = {}
        self._buffers: dict[str, Tensor] = {}
        everyone = [dict(network.named_parameters()) for network in self.networks]
        beside = [dict(network.named_buffers()) for network in self.networks]
        shapes = [
            {name: tensor.shape for name, tensor in {**p, **b}.items()} for p, b in zip(everyone, beside, strict=True)
        ]
        if any(own != shapes[0] for own in shapes):
            raise PackedPassError("their networks have not one shape")
        for name, parameter in first.named_parameters():
            stacked = _stacked([parameters[name] for parameters in everyone])
            self._parameters[name] = stacked.requires_grad_(parameter.requires_grad)
        for name, buffer in first.named_buffers():
            if not all(_alike(buffer, buffers[name]) for buffers in beside[1:]):
                self._buffers[name] = _stacked([buffers[name] for buffers in beside])
        self._members = everyone
        self.gradients: dict[str, Tensor] = {}  # stacked as the weights, of which each network has its part
        self._call = vmap(self._network, in_dims=(0, 0, 0), randomness="error")

    def _network(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Sequence[Any]) -> Tensor:
        """Evaluate one network, as `vmap` sees it. Shared buffers may not be written: the others' would not be."""
        shared = {name: b for name, b in self.networks[0].named_buffers() if name not in buffers}
        before = {name: (id(b), b._version) for name, b in shared.items()} | {n: (id(b), 0) for n, b in buffers.items()}
        own = {**parameters, **buffers}  # torch leaves in it what stands there after the pass
        with StackedKernels():
            output: Tensor = functional_call(self.networks[0], own, tuple(inputs))
        after = dict(self.networks[0].named_buffers())
        now = {name: (id(after[name]), after[name]._version) for name in shared} | {n: (id(own[n]), 0) for n in buffers}
        if written := [name for name in before if before[name] != now[name]]:
            raise PackedPassError(f"its network writes into the buffer {written[0]}")
        return output

    def __call__(self, inputs: Sequence[Sequence[Tensor | None]]) -> Tensor:
        """Evaluate each network on its own inputs, as many and of the same shapes for all; return (N, B, ...).

        Raises PackedPassError where that cannot be, and what a lack of memory raises.
        """
        missing = [value is None for value in inputs[0]]
        if any([value is None for value in own] != missing for own in inputs):
            raise PackedPassError("not all are told labels")
        stacked = [torch.stack(values) for values in zip(*map(_present, inputs), strict=True)]

        def filled(given: Sequence[Tensor]) -> list[Tensor | None]:
            values = iter(given)
            return [None if gone else next(values) for gone in missing]

        try:
            if not any(missing):
                output: Tensor = self._call(self._parameters, self._buffers, stacked)
            else:
                output = vmap(
                    lambda p, b, given: self._network(p, b, filled(given)), in_dims=(0, 0, 0), randomness="error"
                )(self._parameters, self._buffers, stacked)
        except PackedPassError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise PackedPassError(_reason(error)) from error
        return output

    def backward(self, output: Tensor, gradients: Sequence[Tensor]) -> None:
        """Add the gradients of a pass, given those of each network's output; `hand_over` gives them to the networks."""
        torch.autograd.backward([output], [torch.stack(list(gradients))])

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """Return all networks' weights, (N, …) by name."""
        return self._parameters

    def hand_over(self) -> None:
        """Let each network's parameters have their gradients, and begin anew."""
        self.gradients = {}
        for name, stacked in self._parameters.items():
            gradient, stacked.grad = stacked.grad, None
            if gradient is not None:
                self.gradients[name] = gradient
                for parameters, own in zip(self._members, gradient.unbind(), strict=True):
                    parameters[name].grad = own

    def forget(self) -> None:
        """Drop gradients of a step that does not count."""
        for stacked in self._parameters.values():
            stacked.grad = None


class StackedKernels(TorchFunctionMode):
    """Takes kernels for the stack within `vmap` where torch has no rule for it, or a slow one."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and len(args) == 3 and not kwargs:
            return over_stack(_attention, *args)
        if func is F.linear and not kwargs and one_by_one(args[0]):
            x, weight, *bias = args
            if not bias or bias[0] is None:
                return over_stack(partial(linear, bias=None), x, weight)
            return over_stack(linear, x, weight, *bias)
        return func(*args, **kwargs)


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(QKᵀ/√d)V of each network, (N, B, heads, T, d) each: of N·B images, since torch batches no CPU kernel."""
    attended = F.scaled_dot_product_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
    return attended.reshape(len(q), -1, *attended.shape[1:])


def refusal(backbone: Backbone, setting: InputSpec) -> str | None:
    """Return why the passes of such networks cannot be taken as one; None where they can, by a try on the meta device.

    Raises what building the network raises.
    """
    meta = torch.device("meta")
    with isolated(), meta:
        networks = [backbone.build(setting).train() for _ in range(2)]
        labels = None if setting.classes is None else torch.zeros(2, dtype=torch.int64)
        inputs = (torch.empty(2, *setting.shape), torch.empty(2), labels)
        try:
            packed = PackedPass(networks)
            output = packed([inputs, inputs])
            packed.backward(output, list(output.detach()))
        except PackedPassError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - whatever a network's own code makes of it
            return _reason(error)
    return None


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors, and make each of them a view of its part."""
    whole = torch.stack([tensor.detach() for tensor in tensors])
    for tensor, own in zip(tensors, whole.unbind(), strict=True):
        tensor.data = own
    return whole


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.is_meta or torch.equal(one, other)


def apart(tensors: Mapping[str, Tensor]) -> None:
    """Give each tensor a place of its own again."""
    for tensor in tensors.values():
        tensor.data = tensor.data.clone()


def _present(inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [value for value in inputs if value is not None]


def _reason(error: Exception) -> str:
    """Return the first sentence of torch's words, with what one is to do about it left out."""
    text = " ".join(exception_summary(error).split())
    return f"torch.func: {text.split('. ')[0][:200]}"
