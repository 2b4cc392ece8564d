"""features `classifier`: a small network trained once on the labels of the study's own data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PrivateAttr

from ablate.api import Choice, Dataset, Extractor, Features, HeadsExtractor, InputError, InputSpec, Range
from ablate.io.files import write_with
from ablate.io.weights import sha256_of
from ablate_zoo.features._precision import full_precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_LAYOUT = 1  # another number for another way of training


class ClassifierFeatures(Features):
    """Pooled activations of a small convolutional classifier, trained on the labels of the study's own images.

    They see what tells the classes of just these data apart, as ImageNet's features of digits or
    spectrograms may not; heads: `pooled` (4·width) and `logits` (the classes). It is trained on the
    images that candidates train on, never on the reference, once, and kept in the cache under the
    hash of the data. The hash of its weights is part of every measurement: values of two trainings
    (another machine, an emptied cache) are not taken for comparable.
    """

    name = "classifier"

    size: Annotated[int, Field(ge=8, le=512), Choice(16, 32, 64)] = 32  # side in pixels of what the network sees
    width: Annotated[int, Field(ge=8, le=256, multiple_of=8), Choice(16, 32, 64)] = 16  # channels of the first stage
    steps: Annotated[int, Field(ge=1, le=1_000_000), Range(100, 4000, log=True)] = 400  # of 64 images
    _file: Path | None = PrivateAttr(None)

    def heads(self) -> Mapping[str, int | None]:
        """Pooled activations; class scores, as many as the data have classes."""
        return {"pooled": 4 * self.width, "logits": None}

    def requires(self) -> Mapping[str, str]:
        """Labels."""
        return {"labels": "it is a classifier, trained on the data's own labels"}

    def refuse(self, setting: InputSpec) -> str | None:
        """Images that are neither grey nor RGB."""
        if setting.shape[0] not in (1, 3):
            return f"it looks at grey or RGB images, not at {setting.shape[0]} channels; choose other features"
        return None

    def prepare(
        self, dataset: Dataset, cache: Path, device: torch.device, pause: Callable[[], None]
    ) -> ClassifierFeatures:
        """Trained on the data set, or as an earlier call left it in `cache`. Raises InputError without labels."""
        import numpy as np
        import torch
        from safetensors.torch import save_file

        from ablate_zoo.features._small_classifier import train

        if dataset.labels is None or dataset.classes is None or dataset.images.dtype != np.uint8:
            raise InputError(f"features {self.name!r} are trained on images with labels; choose other features")
        ready = self.model_copy()
        ready._file = cache / "classifiers" / f"{self.digest()[:16]}-{dataset.hash[:16]}-v{_LAYOUT}.safetensors"
        if not ready._file.is_file():
            images, labels = torch.from_numpy(np.asarray(dataset.images)), torch.from_numpy(dataset.labels)
            network = train(images, labels, dataset.classes, self.width, self.size, self.steps, device, pause)
            tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
            if not ready._file.is_file():  # who was first is right
                write_with(ready._file, lambda path: save_file(tensors, path))
        return ready

    def build(self, device: torch.device) -> Extractor:
        """The pooled features alone."""
        look = self.build_heads(device, {"pooled"})
        return lambda images: look(images)["pooled"]

    def patches(self) -> tuple[int, int, int]:
        """The last stage, at a quarter of the size."""
        side = -(-self.size // 4)
        return 4 * self.width, side, side

    def build_patches(self, device: torch.device) -> Extractor:
        """The last stage before it is pooled."""
        look = self.build_heads(device, {"maps"})
        return lambda images: look(images)["maps"]

    def build_heads(self, device: torch.device, heads: Set[str]) -> HeadsExtractor:
        """The heads, in one pass. Raises InputError before `prepare`."""
        import torch
        from safetensors.torch import load_file

        from ablate_zoo.features._small_classifier import SmallClassifier, prepare

        tensors = load_file(self._trained())
        network = SmallClassifier(len(tensors["last.bias"]), self.width).requires_grad_(False).eval()
        network.load_state_dict(tensors)
        network.to(device)
        most = 64 if device.type == "cpu" else 2048

        @torch.inference_mode()
        def look(images: Tensor) -> dict[str, Tensor]:
            with full_precision(device):
                parts = [network(prepare(part.to(device), self.size), heads) for part in images.split(most)]
            return {head: torch.cat([part[head] for part in parts]) for head in heads}

        return look

    def weights_hash(self) -> str:
        """SHA-256 of the file that training left. Raises InputError before `prepare`."""
        return sha256_of(self._trained())

    def _trained(self) -> Path:
        if self._file is None:
            raise InputError(f"features {self.name!r} have no weights before they are trained on a data set")
        return self._file
