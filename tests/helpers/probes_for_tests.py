"""A backbone that can be told to misbehave in every way that a training can, and eyes that cost nothing."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ablate.api import Backbone, Choice, Data, Dataset, Features, InputSpec, Range

Refusals = Literal["none", "raise", "full", "crowded", "build", "loss_nan", "sample_nan", "sample_crowded"]
Deaths = Literal["kill", "interrupt", "segfault", "hang"]
Trap = Refusals | Deaths


HOLD_FROM = 8  # passes in a process, after which a training waits while PROBE_HOLD is there


class Middle(nn.Module):
    """Counts its passes, and gives NaN from the `bad`-th on (0: never)."""

    def __init__(self, width: int, bad: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Conv2d(width, width, 1)
        self.dropout = nn.Dropout(dropout)
        self.bad = bad
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def forward(self, h: Tensor) -> tuple[Tensor, None]:
        h = self.dropout(self.linear(h)).relu()
        if self.training and h.device.type != "meta":
            self.passes += 1
            if self.bad and int(self.passes) >= self.bad:
                h = h * torch.nan
        return h, None  # as an attention gives its output and no weights


class Network(nn.Module):
    def __init__(self, probe: Probe, setting: InputSpec) -> None:
        super().__init__()
        channels = setting.shape[0]
        self.probe = probe
        self.inward = nn.Conv2d(channels, probe.width, 3, padding=1)
        self.level = nn.Linear(1, probe.width)
        self.label = nn.Embedding((setting.classes or 0) + 1, probe.width)
        self.middle = Middle(probe.width, probe.bad, probe.dropout)
        self.outward = nn.Conv2d(probe.width, channels, 3, padding=1)
        if probe.tied:
            self.again = self.inward
        self.seen = 0  # not saved: passes in this process

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        probe = self.probe
        where = self.level(noise.float()[:, None]) + (0 if labels is None else self.label(labels))
        h = self.inward(x) + where[:, :, None, None]
        y = self.outward(self.middle(h)[0])
        if x.device.type == "meta":
            return y
        if not self.training:
            if probe.trap == "sample_crowded" and not Path(probe.once).exists():
                Path(probe.once).touch()
                raise torch.OutOfMemoryError("out of memory: there are others")
            if probe.sample_room and len(x) > probe.sample_room:
                raise torch.OutOfMemoryError(f"out of memory: {len(x)} samples, room for {probe.sample_room}")
            return y * torch.nan if probe.trap == "sample_nan" else y
        self.seen += 1
        if "PROBE_SLEEP" in os.environ:
            time.sleep(float(os.environ["PROBE_SLEEP"]))
        while self.seen >= HOLD_FROM and Path(os.environ.get("PROBE_HOLD", "/nowhere")).exists():
            time.sleep(0.01)
        if probe.room and len(x) > probe.room:
            raise torch.OutOfMemoryError(f"out of memory: {len(x)} images, room for {probe.room}")
        if self.seen == probe.step and probe.trap != "none" and not Path(probe.once).exists():
            if probe.once != "/nowhere":
                Path(probe.once).touch()
            if probe.trap == "raise":
                raise RuntimeError("a wire is loose")
            if probe.trap == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if probe.trap == "interrupt":
                raise KeyboardInterrupt
            if probe.trap == "segfault":
                ctypes.string_at(0)
            if probe.trap == "hang":
                time.sleep(1e6)
            if probe.trap == "crowded":
                raise torch.OutOfMemoryError("out of memory: there are others")
            if probe.trap == "full":
                raise OSError(28, "No space left on device")
        return y * torch.nan if probe.trap == "loss_nan" and self.seen >= probe.step else y


class Probe(Backbone):
    """Two convolutions with something between them."""

    name = "probe"

    width: Annotated[int, Field(ge=1), Choice(2, 4, 8)] = 4
    knob: Annotated[float, Field(ge=0, le=1), Range(0.0, 1.0)] = 0.5  # does nothing
    knack: Literal["none", "half", "full"] = "none"  # nor does this
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    tied: bool = False
    bad: int = 0  # the pass from which on `middle` gives NaN
    room: int = 0  # images that fit into memory; 0: any number
    sample_room: int = 0  # the same while samples are drawn
    trap: Literal[
        "none",
        "raise",
        "kill",
        "crowded",
        "full",
        "loss_nan",
        "sample_nan",
        "sample_crowded",
        "build",
        "interrupt",
        "leave",
        "exit",
        "cancel",
        "build_hang",
        "build_segfault",
        "segfault",
        "hang",
    ] = "none"
    step: int = 1  # the pass at which the trap springs
    once: str = "/nowhere"  # a file that disarms the trap, and that it leaves behind

    def provides(self) -> frozenset[str]:
        return frozenset({"null_class"})

    def build(self, setting: InputSpec) -> nn.Module:
        if self.trap == "build":
            raise ZeroDivisionError("heads do not divide nought")
        if self.trap == "leave":
            sys.exit(0)
        if self.trap == "exit":
            os._exit(0)
        if self.trap == "cancel":
            raise asyncio.CancelledError
        if self.trap == "build_hang":
            time.sleep(1e6)
        if self.trap == "build_segfault":
            ctypes.string_at(0)
        return Network(self, setting)


class Unreadable(Data):
    """Images that are there, and cannot be read."""

    name = "unreadable"

    def setting(self) -> InputSpec:
        return InputSpec((1, 8, 8), None)

    def load(self, cache: Path) -> Dataset:
        raise PermissionError("the archive is locked")


class Pixels(Features):
    """The pixels themselves, in [0, 1]."""

    name = "pixels"

    def build(self, device: torch.device):
        return lambda images: images.to(device).float().flatten(1) / 255

    def weights_hash(self) -> str:
        return "0" * 64


# So often that every kill finds something to go on from.
if "PROBE_CHECKPOINT_SECONDS" in os.environ:
    import ablate.training.loop

    ablate.training.loop.CHECKPOINT_SECONDS = float(os.environ["PROBE_CHECKPOINT_SECONDS"])
    ablate.training.loop.LOOK_SECONDS = float(os.environ["PROBE_CHECKPOINT_SECONDS"])
