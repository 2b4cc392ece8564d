"""features `inception_v3`: Inception-v3, the network that FID is defined by (Heusel et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PrivateAttr

from ablate.api import Dataset, Extent, Extractor, Features, HeadsExtractor, InputError, InputSpec, WeightsFile
from ablate_zoo.features._precision import full_precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_NAME = "inception-2015-12-05-6726825d.pth"
WEIGHTS = WeightsFile(
    name=f"pt_{_NAME}",
    url=f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_{_NAME}",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    size=95_628_359,
    also=(f"weights-{_NAME}",),
)


class InceptionV3Features(Features):
    """Inception-v3 in the weights of 2015-12-05, the features of FID (Heusel et al. 2017), in fp32.

    Heads: `pooled` (2048), `spatial` (7 channels at 17×17 of an inner convolution: 2023 dimensions),
    `logits` (1008 classes, without bias). Images are resized to 299×299 by TensorFlow 1's bilinear
    rule, grey is repeated to RGB, values become (x − 128)/128. The weights are looked for in the
    cache and where pytorch-fid and torch-fidelity keep them, and downloaded (91 MiB) where they are not.
    """

    name = "inception_v3"
    canonical: ClassVar[dict[str, tuple[str, int]]] = {
        "fd": ("fid", 10_000),
        "fd_infinity": ("fid_infinity", 10_000),
        "sfid": ("sfid", 10_000),
        "inception_score": ("inception_score", 10_000),
    }

    weights: Annotated[str | None, Field(min_length=1), Extent()] = None  # the file, where it is in no usual place
    _file: Path | None = PrivateAttr(None)

    def heads(self) -> Mapping[str, int]:
        """Pooled activations, an inner layer's with their places, class scores."""
        return {"pooled": 2048, "spatial": 2023, "logits": 1008}

    def refuse(self, setting: InputSpec) -> str | None:
        """Images that are neither grey nor RGB, or given weights that are not there."""
        if setting.shape[0] not in (1, 3):
            return f"it looks at grey or RGB images, not at {setting.shape[0]} channels; choose other features"
        try:
            WEIGHTS.find(self._given(), ())
        except InputError as error:
            return str(error)
        return None

    def prepare(
        self, dataset: Dataset, cache: Path, device: torch.device, pause: Callable[[], None]
    ) -> InceptionV3Features:
        """With the weights found, or downloaded into `cache`. Raises InputError where neither works."""
        ready = self.model_copy()
        ready._file = WEIGHTS.check(self._find(cache) or WEIGHTS.fetch(cache / "weights", pause))
        return ready

    def missing(self, cache: Path) -> str | None:
        """The download, where the file is in no usual place."""
        return None if self._find(cache) else f"{WEIGHTS.size / 2**20:.0f} MiB are downloaded when first used"

    def build(self, device: torch.device) -> Extractor:
        """The pooled features alone."""
        look = self.build_heads(device, {"pooled"})
        return lambda images: look(images)["pooled"]

    def build_heads(self, device: torch.device, heads: Set[str]) -> HeadsExtractor:
        """The heads, in one pass. Raises InputError where the weights were not made ready, or are others."""
        import torch
        from torch.nn.utils import convert_conv2d_weight_memory_format

        from ablate_zoo.features._inception import InceptionV3, resize

        path = self._file or WEIGHTS.find(self._given(), ())
        if path is None:
            raise InputError(f"the weights of features {self.name!r} are not here: call prepare first")
        network = InceptionV3()
        network.load_state_dict(torch.load(WEIGHTS.check(path), map_location="cpu", weights_only=True))
        network = convert_conv2d_weight_memory_format(network.to(device), torch.channels_last)
        most = 16 if device.type == "cpu" else 256

        def see(images: Tensor) -> dict[str, Tensor]:
            x = resize(images.to(device=device, dtype=torch.float32))  # (B, C, 299, 299)
            x = ((x - 128) / 128).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
            outputs: dict[str, Tensor] = network(x, heads)
            return outputs

        @torch.inference_mode()
        def look(images: Tensor) -> dict[str, Tensor]:
            with full_precision(device):
                parts = [see(part) for part in images.split(most)]
            return {head: torch.cat([part[head] for part in parts]) for head in heads}

        return look

    def weights_hash(self) -> str:
        """The hash that is demanded of the file."""
        return WEIGHTS.sha256

    def _given(self) -> str | None:
        return None if self.weights is None else str(self.located(self.weights))

    def _find(self, cache: Path) -> Path | None:
        import os

        home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
        return WEIGHTS.find(
            self.weights and str(self.located(self.weights)), (cache / "weights", home / "hub" / "checkpoints")
        )
