"""Geometric changes of images, drawn for each by itself: their matrices, their parameters, and the resampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.api import Uniform


class Draws:
    """Draws the numbers of each change; they are zero in the images that the change leaves alone."""

    def __init__(self, uniform: Uniform, probability: float) -> None:
        self._uniform = uniform
        self._probability = probability

    def normal(self, name: str, gate: str | None = None) -> Tensor:
        """Standard normal numbers, (B,), for a change of this name (gate: another's, with which it comes)."""
        u = self._uniform(f"{name} amount").double().clamp(1e-9, 1 - 1e-9)
        return self._gated(gate or name, math.sqrt(2) * torch.erfinv(2 * u - 1))

    def angle(self, name: str, gate: str | None = None) -> Tensor:
        """Angles in [−π, π), (B,)."""
        return self._gated(gate or name, (2 * self._uniform(f"{name} angle").double() - 1) * math.pi)

    def coin(self, name: str, share: float | None = None) -> Tensor:
        """Return 1 with probability `share`, or half the change's own, and 0 elsewhere: (B,)."""
        share = 0.5 * self._probability if share is None else share
        return (self._uniform(name) < share).double()

    def _gated(self, name: str, values: Tensor) -> Tensor:
        return torch.where(self._uniform(name) < self._probability, values, 0.0)


def transformed(
    x0: Tensor, draws: Draws, mirror: float, scale: float, stretch: float, shift: float
) -> tuple[Tensor, Tensor]:
    """Return the images after the changes, in their order, and the nine parameters of each, (B, 9) fp32."""
    left, upside = draws.coin("mirror", mirror), draws.coin("upside down")
    size, turn = draws.normal("scale"), draws.angle("rotation")
    along, amount = draws.angle("stretch"), draws.normal("stretch")
    right, down = draws.normal("right", "shift"), draws.normal("down", "shift")
    told = [left, upside, size, turn.cos() - 1, turn.sin(), amount * along.cos(), amount * along.sin(), right, down]

    matrix = _scaling(1 - 2 * left, 1 - 2 * upside)
    matrix = _scaling(scale**size, scale**size) @ matrix
    matrix = _rotation(-turn) @ matrix
    stretching = _scaling(stretch**amount, stretch**-amount)
    matrix = _rotation(along) @ stretching @ _rotation(-along) @ matrix
    matrix = _translation(2 * shift * right, 2 * shift * down) @ matrix  # the sides are 2 long, from −1 to 1

    mirrored = torch.where(left[:, None, None, None] > 0, x0.flip(-1), x0)
    mirrored = torch.where(upside[:, None, None, None] > 0, mirrored.flip(-2), mirrored)
    moved = (torch.stack(told[2:], dim=1) != 0).any(1)
    resampled = _resampled(x0, matrix.inverse()) if bool(moved.any()) else x0
    images = torch.where(moved[:, None, None, None], resampled, mirrored)
    return images, torch.stack(told, dim=1).to(x0.dtype)


def _resampled(x: Tensor, inverse: Tensor) -> Tensor:
    """Read each image at the places from which its pixels come; inverse: (B, 3, 3), output to input, in [−1, 1]²."""
    _, _, height, width = x.shape
    # Angles and lengths are those of pixels: an image that is not square is stretched to one and back.
    most = max(height, width)
    sides = torch.tensor([width / most, height / most, 1.0], dtype=inverse.dtype, device=inverse.device)
    theta = (sides[None, :, None].reciprocal() * inverse * sides[None, None, :])[:, :2].to(x.dtype)
    grid = F.affine_grid(theta, [len(x), x.shape[1], 2 * height, 2 * width], align_corners=False)
    fine = F.grid_sample(x, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(fine, 2).clamp(-1, 1)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    return _matrix([[x, None, None], [None, y, None]])


def _rotation(angle: Tensor) -> Tensor:
    return _matrix([[angle.cos(), -angle.sin(), None], [angle.sin(), angle.cos(), None]])


def _translation(x: Tensor, y: Tensor) -> Tensor:
    one = torch.ones_like(x)
    return _matrix([[one, None, x], [None, one, y]])


def _matrix(rows: list[list[Tensor | None]]) -> Tensor:
    """Return (B, 3, 3) matrices; None is 0, and the last row 0 0 1."""
    like = next(value for value in rows[0] if value is not None)
    filled = [torch.stack([torch.zeros_like(like) if v is None else v for v in row], dim=1) for row in rows]
    last = torch.stack([torch.zeros_like(like), torch.zeros_like(like), torch.ones_like(like)], dim=1)
    return torch.stack([*filled, last], dim=1)
