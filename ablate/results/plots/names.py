"""Names beside points: placed when the figure is drawn, at whatever size, so that none covers another or is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.artist import Artist
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox, IdentityTransform

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

NEAR, FAR = 5, 12  # points between a mark and its name
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))  # right and left read best


class Named(NamedTuple):
    """A point (x, y in data) with its name."""

    x: float
    y: float
    name: str
    colour: str
    bold: bool = False


class Names(Artist):
    """Draw the names of points, the first ones first; what has no free place within the axes is left out.

    line: corners (N, 2) in data of a line that names cross only where there is no other place.

    `boxes`: what was drawn last, [(name, its extent in pixels), …].
    """

    def __init__(
        self, axes: Axes, points: Sequence[Named], size: float = 7, line: NDArray[np.float64] | None = None
    ) -> None:
        super().__init__()
        self.points, self.size, self.line = list(points), size, line
        self.boxes: list[tuple[str, Bbox]] = []
        self.set_zorder(6)
        self.set_in_layout(False)
        axes.add_artist(self)

    def draw(self, renderer: Any) -> None:
        """Place and draw them."""
        if not self.get_visible() or self.axes is None:
            return
        frame, pixels = self.axes.bbox, renderer.points_to_pixels(1.0)
        places: Any = self.axes.transData.transform([(p.x, p.y) for p in self.points]) if self.points else []
        marks = [Bbox.from_bounds(x - 3 * pixels, y - 3 * pixels, 6 * pixels, 6 * pixels) for x, y in places]
        path = None if self.line is None else Path(self.axes.transData.transform(self.line))
        self.boxes = []
        for i, (point, (x, y)) in enumerate(zip(self.points, places, strict=True)):
            others = [mark for j, mark in enumerate(marks) if j != i]
            weight = "bold" if point.bold else "normal"
            text = Text(0, 0, point.name, color=point.colour, fontsize=self.size, fontweight=weight, parse_math=False)
            text.set_figure(self.axes.figure)
            text.set_transform(IdentityTransform())
            offsets = [(d * pixels, side, crosses) for crosses in (False, True) for d in (NEAR, FAR) for side in SIDES]
            for distance, (across, up), crosses in offsets:
                text.set_position((x + across * distance, y + up * distance))
                text.set_horizontalalignment(("right", "center", "left")[across + 1])
                text.set_verticalalignment(("top", "center", "bottom")[up + 1])
                box = text.get_window_extent(renderer)
                taken = [*others, *(other for _, other in self.boxes)]
                within = box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
                if not crosses and path is not None and path.intersects_bbox(box, filled=False):
                    continue
                if within and not any(box.overlaps(other) for other in taken):
                    text.draw(renderer)
                    self.boxes.append((point.name, box))
                    break
        self.stale = False
