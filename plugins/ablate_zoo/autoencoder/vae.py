"""autoencoder `vae`: the decoder of latent diffusion (Rombach et al. 2022), read with diffusers."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ablate.api import Autoencoder, Decoder, Extent, InputError, InputSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_INSTALL = 'pip install "ablate[latents]"'
_WEIGHTS = "diffusion_pytorch_model"


class Vae(Autoencoder):
    """`AutoencoderKL` of diffusers: the autoencoder of Rombach et al. 2022, section 3.1.

    From a folder that `save_pretrained` wrote, or from the Hugging Face hub, such as
    stabilityai/sd-vae-ft-mse; safetensors only, no pickle. It decodes in fp32, some latents at a time.
    Shift and scale are the data's matter: they say how their latents were stored.
    """

    name = "vae"

    path: str  # a folder with config.json and safetensors, or a repository on the hub
    subfolder: str = ""  # in it, such as vae
    revision: str | None = None  # of the repository
    batch: Annotated[int, Field(ge=1, le=1_000_000), Extent()] = 16  # latents that are decoded at a time

    @classmethod
    def lacking(cls) -> str | None:
        """Diffusers, which reads the weights."""
        return None if importlib.util.find_spec("diffusers") else _INSTALL

    def provides(self) -> frozenset[str]:
        """It decodes."""
        return frozenset({"decoder"})

    def requires(self) -> Mapping[str, str]:
        """Latents: pixels have nothing to decode."""
        return {"latents": "an autoencoder decodes what data of type latents trained the network to draw"}

    def refuse(self, setting: InputSpec) -> str | None:
        """Where it is not to be had, or its latents have another number of channels."""
        try:
            channels = self._config().get("latent_channels", 4)
        except InputError as error:
            return str(error)
        if channels != setting.shape[0]:
            return f"it decodes latents of {channels} channels, and these have {setting.shape[0]}"
        return None

    def pixels(self, setting: InputSpec) -> InputSpec:
        """out_channels, and twice the side for each block of the decoder but one."""
        config = self._config()
        factor = 2 ** (len(config.get("block_out_channels", [64])) - 1)
        _, height, width = setting.shape
        return InputSpec((config.get("out_channels", 3), factor * height, factor * width), setting.classes)

    def build(self, device: torch.device) -> Decoder:
        """The decoder in fp32, whatever the precision around it."""
        import torch

        try:
            from diffusers import AutoencoderKL
        except ImportError as error:
            raise InputError(f"autoencoder 'vae' needs diffusers ({error}); run: {_INSTALL}") from None
        folder = self._folder()
        try:
            vae = AutoencoderKL.from_pretrained(
                folder, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
            )
        except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
            raise InputError(f"no AutoencoderKL could be read there: {error}", str(folder)) from None
        vae.eval().requires_grad_(False).to(device)

        def decode(latents: Tensor) -> Tensor:
            with torch.autocast(latents.device.type, enabled=False):
                parts = [vae.decode(part).sample for part in latents.float().split(self.batch)]
            return torch.cat(parts)

        return decode

    def identity(self) -> str:
        """SHA-256 of config and weights."""
        folder = self._folder()
        stats = ((p.name, p.stat()) for p in _files(folder))  # no copy has the inode and the ctime of another
        return _hash_of(folder, tuple(sorted((name, s.st_ino, s.st_ctime_ns, s.st_mtime_ns) for name, s in stats)))

    def _config(self) -> dict[str, Any]:
        path = self.located(self.path) / self.subfolder / "config.json"
        if not self.located(self.path).is_dir():
            path = Path(_from_hub(self.path, self.subfolder, self.revision, "config.json")) / "config.json"
        try:
            config = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(f"no config.json of an autoencoder: {error}", str(path)) from None
        if not isinstance(config, dict) or config.get("_class_name") != "AutoencoderKL":
            raise InputError("this is not the config.json of an AutoencoderKL", str(path))
        return config

    def _folder(self) -> Path:
        folder = self.located(self.path) / self.subfolder
        if not self.located(self.path).is_dir():
            folder = Path(
                _from_hub(self.path, self.subfolder, self.revision, f"{_WEIGHTS}*.safetensors", "config.json")
            )
        if not _files(folder):
            raise InputError(f"there are no weights {_WEIGHTS}.safetensors in this folder", str(folder))
        return folder


def _files(folder: Path) -> list[Path]:
    """Return the files of the weights: one, or shards."""
    whole = folder / f"{_WEIGHTS}.safetensors"
    return [whole] if whole.is_file() else sorted(folder.glob(f"{_WEIGHTS}-*-of-*.safetensors"))


@lru_cache(maxsize=4)
def _hash_of(folder: Path, stamps: tuple[tuple[str, int, int, int], ...]) -> str:
    content = hashlib.sha256(json.dumps(json.loads((folder / "config.json").read_bytes()), sort_keys=True).encode())
    for name, *_ in stamps:
        with (folder / name).open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    return content.hexdigest()


@lru_cache(maxsize=8)
def _from_hub(repository: str, subfolder: str, revision: str | None, *names: str) -> str:
    """Download some files of a repository with the hub's client, and return their folder."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        message = f"there is no folder {repository}, and to look on the hub huggingface_hub is needed; run: {_INSTALL}"
        raise InputError(message) from None
    prefix = f"{subfolder}/" if subfolder else ""
    try:
        root = snapshot_download(repository, revision=revision, allow_patterns=[prefix + name for name in names])
    except Exception as error:  # noqa: BLE001 - the client raises its own, httpx's and the system's
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"there is no folder {repository}, and the hub does not give it ({reason})") from None
    return str(Path(root) / subfolder)
