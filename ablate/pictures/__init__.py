"""Read image data sets from a folder, a zip archive or a numpy file: uint8 (C, H, W), of one size and colour, labels.

    pictures = open_pictures("faces.zip", size=64)
    for images, labels in pictures.batches(250):     # (B, 3, 64, 64) uint8, (B,) int64 or None
    pictures.columns()                               # what else is known of each: {"caption": str, "width": float, ...}

Nothing is unpacked, nothing is written, no code is run, and what is wrong is one InputError.
"""

from ablate.pictures.labels import Labelling
from ablate.pictures.pictures import Pictures, open_pictures
from ablate.pictures.resize import Colour, Resize
from ablate.pictures.source import Source

__all__ = ["Colour", "Labelling", "Pictures", "Resize", "Source", "open_pictures"]
