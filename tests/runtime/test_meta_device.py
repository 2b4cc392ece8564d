"""Device contexts within one another: the inner one counts, and whatever is open around it comes back."""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode

from ablate.runtime.meta_device import OnDevice, OnMeta


class Noting(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.seen += func is torch.empty
        return func(*args, **(kwargs or {}))


def made() -> str:
    return torch.empty(1).device.type


def test_the_inner_device_counts_and_the_outer_one_comes_back() -> None:
    with OnMeta(), Noting() as noting:
        assert made() == "meta"
        with OnDevice("cpu"):
            assert made() == "cpu"
            with OnMeta(), OnMeta():
                assert made() == "meta"
            assert made() == "cpu"
        assert made() == "meta" and noting.seen == 5
    assert made() == "cpu" and torch._C._len_torch_function_stack() == 0
    with torch.device("meta"):
        with OnDevice("cpu"):
            assert made() == "cpu"
        assert made() == "meta"
    assert made() == "cpu" and torch._C._len_torch_function_stack() == 0


def test_an_error_inside_leaves_nothing_open() -> None:
    try:
        with OnMeta(), Noting(), OnDevice("cpu"):
            raise KeyError
    except KeyError:
        pass
    assert made() == "cpu" and torch._C._len_torch_function_stack() == 0
