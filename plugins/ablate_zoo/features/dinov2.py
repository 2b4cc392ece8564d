"""features `dinov2`: DINOv2, learnt without labels, which agrees with people better than Inception-v3 does."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PrivateAttr

from ablate.api import Dataset, Extent, Extractor, Features, InputError, InputSpec, When
from ablate.io.files import read_json
from ablate.io.weights import sha256_of
from ablate_zoo.features._precision import full_precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_WIDTHS = {"small": 384, "base": 768, "large": 1024, "giant": 1536}
_MEGABYTES = {"small": 88, "base": 346, "large": 1218, "giant": 4546}  # of model.safetensors
_FILES = ("config.json", "model.safetensors")
_INSTALL = 'pip install "ablate[dinov2]"'
_GRID = 224 // 14  # patches a side


class Dinov2Features(Features):
    """The class token of DINOv2 (Oquab et al. 2023) after its last norm, in fp32; Stein et al. 2023 for its use.

    Images are resized to 224×224 bicubically (antialiased), grey is repeated to RGB, and normalised by
    ImageNet's mean and deviation. The network is that of the package `transformers`; its weights are
    those of `facebook/dinov2-<size>` on the Hugging Face hub, downloaded when first used, or of a
    local folder. Published FD_DINOv2 values take `large`.
    """

    name = "dinov2"

    weights: Annotated[str | None, Field(min_length=1), Extent()] = None  # a folder: config.json, model.safetensors
    size: Annotated[Literal["small", "base", "large", "giant"], When("weights", (None,))] = "large"
    _folder: Path | None = PrivateAttr(None)

    def heads(self) -> Mapping[str, int | None]:
        """The class token alone."""
        return {"pooled": _WIDTHS[self.size] if self.weights is None else None}

    def refuse(self, setting: InputSpec) -> str | None:
        """Images that are neither grey nor RGB, a missing package, or a folder that holds no weights."""
        if setting.shape[0] not in (1, 3):
            return f"it looks at grey or RGB images, not at {setting.shape[0]} channels; choose other features"
        if importlib.util.find_spec("transformers") is None:
            return f"it needs the package transformers; run: {_INSTALL}"
        try:
            self._given()
        except InputError as error:
            return str(error)
        return None

    def prepare(self, dataset: Dataset, cache: Path, device: torch.device, pause: Callable[[], None]) -> Dinov2Features:
        """With the weights in a folder. Raises InputError where they cannot be had, or `transformers` is missing."""
        reason = self.refuse(InputSpec((3, 1, 1), None))
        if reason is not None:
            raise InputError(reason)
        ready = self.model_copy()
        ready._folder = self._given() or self._downloaded()
        return ready

    def missing(self, cache: Path) -> str | None:
        """The download, where the hub's cache lacks a file."""
        from huggingface_hub import try_to_load_from_cache

        if self._folder is not None or self.weights is not None:
            return None
        cached = all(isinstance(try_to_load_from_cache(self._repository, file), str) for file in _FILES)
        return None if cached else f"about {_MEGABYTES[self.size]} MB come from the Hugging Face hub when first used"

    def patches(self) -> tuple[int, int, int]:
        """The tokens of the patches after the last norm, 14×14 pixels of the resized image each."""
        folder = self._given()
        width = _WIDTHS[self.size] if folder is None else int(read_json(folder / _FILES[0])["hidden_size"])
        return width, _GRID, _GRID

    def build_patches(self, device: torch.device) -> Extractor:
        """The tokens of the patches as maps. Raises InputError before `prepare`."""
        extract = self._tokens(device)
        return lambda images: extract(images)[:, 1:].transpose(1, 2).unflatten(2, self.patches()[1:]).contiguous()

    def build(self, device: torch.device) -> Extractor:
        """Raises InputError before `prepare`."""
        extract = self._tokens(device)
        return lambda images: extract(images)[:, 0]

    def _tokens(self, device: torch.device) -> Extractor:
        import torch

        from ablate_zoo.features._dinov2 import load, prepare

        network = load(self._ready()).to(device)
        most = 16 if device.type == "cpu" else 128

        @torch.inference_mode()
        def extract(images: Tensor) -> Tensor:
            with full_precision(device):
                parts = images.split(most)
                return torch.cat([network(prepare(part.to(device))).last_hidden_state for part in parts])

        return extract

    def weights_hash(self) -> str:
        """SHA-256 of model.safetensors. Raises InputError before `prepare`, unless a folder is given."""
        return sha256_of(self._ready() / _FILES[1])

    @property
    def _repository(self) -> str:
        return f"facebook/dinov2-{self.size}"

    def _given(self) -> Path | None:
        if self.weights is None:
            return None
        folder = self.located(self.weights)
        for file in _FILES:
            if not (folder / file).is_file():
                raise InputError(f"holds no {file}; it should hold {' and '.join(_FILES)} of a DINOv2", self.weights)
        return folder

    def _downloaded(self) -> Path:
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(self._repository, allow_patterns=list(_FILES)))
        except (OSError, ValueError) as error:  # what the hub's client raises without a connection is of both kinds
            reason = str(error).partition("\n")[0]
            message = (
                f"cannot be downloaded ({reason}); bring {' and '.join(_FILES)} into a folder, and give it as weights"
            )
            raise InputError(message, f"https://huggingface.co/{self._repository}") from None

    def _ready(self) -> Path:
        folder = self._folder or self._given()
        if folder is None:
            raise InputError(f"the weights of features {self.name!r} are not here: call prepare first")
        return folder
