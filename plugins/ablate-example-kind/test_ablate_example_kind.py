"""What must hold of every stem and backbone, and what must hold of these alone."""

from pathlib import Path

import torch
from ablate_example_kind import Haar, Patches

from ablate.testing import conformance

test = conformance(Path(__file__).with_name("ablate_example_kind.py"))


def test_a_patch_holds_its_own_pixels():
    """Row by row, in the order of the image."""
    tokens = Patches(size=2).split(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert tokens[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_wavelets_of_a_flat_image_are_its_brightness_alone():
    """Each level doubles what is flat (orthonormal Haar), and every detail is 0."""
    tokens = Haar(levels=2).split(torch.ones(1, 1, 8, 8))
    assert tokens.shape == (1, 4, 16)
    assert tokens[0, :, 0].tolist() == [4.0] * 4 and not tokens[0, :, 1:].any()
