"""Figures for papers: a function each, that draws results into axes of one's own and returns them.

    from ablate.results import plots

    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
    plots.front(results, left)
    plots.effects(results, right)
    plots.save(figure, "figure3.pdf")

Each takes `Results`, or the DataFrame that the method of `Results` in its docstring gives, and `ax`; without one it
makes a figure of a column's width. matplotlib's settings are the caller's (fonts, sizes); candidates have the same
colour, mark and dash in every figure, of a palette that the colour-blind can tell apart. Names stand where there is
room for them, so none covers another and none is cut, at any size; metrics have readable names, and units.
"""

from ablate.results.plots.forest import effects, importance
from ablate.results.plots.fronts import attainment, front
from ablate.results.plots.grids import samples
from ablate.results.plots.lines import curves, interaction, probes, scaling
from ablate.results.plots.paper import COLUMN, save

__all__ = [
    "COLUMN",
    "attainment",
    "curves",
    "effects",
    "front",
    "importance",
    "interaction",
    "probes",
    "samples",
    "save",
    "scaling",
]
