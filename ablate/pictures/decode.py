"""Decode image files to pixels, with limits against decompression bombs."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
# Decoders that are tried; others of Pillow's start programs (EPS), or are old and rarely looked at.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MOST_BYTES = 2**28  # of one file
MOST_PIXELS = 2**26  # of one picture: 8192 × 8192
GREY, COLOUR = ("1", "L"), ("RGB", "CMYK", "YCbCr", "LAB", "HSV")
CLEAR = ("LA", "La", "PA", "RGBA", "RGBa")
# Where a viewer shows another picture than is read here, as it is told of a set.
TURNED = "carry a note of how the camera was held, which is not applied: a viewer shows them turned"
FRAMES = "have several frames, of which the first is read"
PROFILE = "carry a colour profile, which is not applied"
ORIENTATION = 0x0112  # EXIF's tag; 1 is upright


class Damaged(Exception):  # noqa: N818 - no error of the program's: a picture that cannot be taken, and why
    """A picture cannot be decoded, or is of a sort that is not taken."""


def decode(content: bytes, remark: Callable[[str], None] = lambda note: None) -> NDArray[np.uint8]:
    """Decode an image file to (C, H, W) uint8, C = 1 for grey and 3 for everything else; the first frame of several.

    Palettes and other colour spaces become RGB. The picture lies as it is stored: a camera's note of
    how it was held is not applied; where a viewer shows another picture, `remark` is told. Raises Damaged
    for what is truncated, larger than 2^26 pixels, deeper than 8 bits or partly transparent.
    """
    from PIL import Image, UnidentifiedImageError

    if len(content) > MOST_BYTES:
        raise Damaged(f"a file of {len(content) >> 20} MiB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is lower
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise Damaged(f"{image.width}×{image.height} pixels, more than are unpacked")
                if content[:8] == b"\x89PNG\r\n\x1a\n" and content[24] == 16:
                    raise Damaged("more than 8 bits a channel (16), which would be lost; convert it first")
                image.load()
                pixels = _pixels(image)
                for note, applies in _otherwise(image).items():
                    if applies:
                        remark(note)
                return pixels
    except (Damaged, MemoryError):
        raise
    except UnidentifiedImageError:
        raise Damaged("no picture, or its beginning is lost") from None
    except Exception as error:  # noqa: BLE001 - a decoder raises whatever damaged bytes lead it to
        raise Damaged(str(error) or type(error).__name__) from None


def _otherwise(image: Image.Image) -> dict[str, bool]:
    """Return in which ways a viewer shows the picture differently (rotation, transparency, colour profile)."""
    return {
        TURNED: image.getexif().get(ORIENTATION, 1) not in (0, 1),
        FRAMES: getattr(image, "n_frames", 1) > 1,
        PROFILE: bool(image.info.get("icc_profile")) and b"sRGB" not in image.info["icc_profile"],
    }


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in CLEAR or "transparency" in image.info:
        clear = image.convert("RGBA")
        if np.asarray(clear.getchannel("A")).min() < 255:
            raise Damaged("partly transparent; lay it onto a background first")
        image = clear.convert("L" if image.mode in ("L", "LA", "La") else "RGB")
    if image.mode in GREY:
        return np.asarray(image.convert("L"))[None]
    if image.mode in COLOUR or image.mode == "P":
        return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))
    raise Damaged(f"mode {image.mode}, which has more than 8 bits a channel; convert it first")
