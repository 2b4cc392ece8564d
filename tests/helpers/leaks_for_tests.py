"""A backbone that changes what is global for the process, in the way and at the time that it is told."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np

from ablate.api import Backbone, InputSpec


def leak(what: str) -> None:
    """Change something global."""
    import torch

    match what:
        case "dtype":
            torch.set_default_dtype(torch.float64)
        case "gradients":
            torch.set_grad_enabled(False)
        case "seed":
            torch.manual_seed(6121)  # none that another test leaves behind
        case "numpy seed":
            np.random.seed(0)
        case "python seed":
            random.seed(0)
        case "folder":
            os.chdir("/")
        case "environment":
            os.environ["LEAKED"] = "1"


class Leaky(Backbone):
    """One convolution; its bias is drawn from numpy's and Python's own generators."""

    name = "leaky"
    what: str = "nothing"
    when: str = "build"  # or `train`: in a forward pass, never on the meta device

    def build(self, setting: InputSpec) -> Any:
        import torch
        from torch import nn

        what, when, channels = self.what, self.when, setting.shape[0]

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Conv2d(channels, channels, 3, padding=1)
                with torch.no_grad():
                    self.layer.bias += float(np.random.randn()) + random.random()

            def forward(self, x: Any, noise: Any, labels: Any) -> Any:
                if when == "train" and not x.is_meta and self.training:
                    leak(what)
                return self.layer(x) * (1 + noise[:, None, None, None] / 1000)

        if when == "build":
            leak(what)
        return Net()
