"""A backbone and features that take a blink; the backbone can be told to fail, to diverge or to take its time."""

import os
import time
from typing import Annotated, Literal

from ablate.api import Backbone, Choice, Features, InputSpec


class Tiny(Backbone):
    """One convolution and a bias of the noise level."""

    name = "tiny"
    width: Annotated[int, Choice(4, 8)] = 4  # channels within
    mode: Literal["fine", "broken", "diverging"] = "fine"

    def build(self, setting: InputSpec):
        import torch
        from torch import nn

        class Network(nn.Module):
            def __init__(self, channels, width, mode):
                super().__init__()
                self.inward = nn.Conv2d(channels, width, 3, padding=1)
                self.level = nn.Linear(1, width)
                self.outward = nn.Conv2d(width, channels, 3, padding=1)
                self.mode = mode

            def forward(self, x, noise, labels):
                h = torch.relu(self.inward(x) + self.level(noise[:, None] / 1000)[:, :, None, None])
                y = self.outward(h)
                if x.device.type == "meta" or not self.training:
                    return y
                time.sleep(float(os.environ.get("TINY_SLEEP", "0")))
                if self.mode == "broken":
                    raise RuntimeError("a wire is loose")
                return y * float("nan") if self.mode == "diverging" else y

        return Network(setting.shape[0], self.width, self.mode)


class Pixels(Features):
    """The pixels themselves, in [0, 1]."""

    name = "pixels"

    def build(self, device):
        return lambda images: images.to(device).float().flatten(1) / 255

    def weights_hash(self):
        return "0" * 64
