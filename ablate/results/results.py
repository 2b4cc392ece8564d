"""`Results`: a study's folder as users see it. It loads the folder, and shows it as text, figures and HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ablate.discovery.plugin_files import plugin_names
from ablate.errors import InputError, did_you_mean, in_python
from ablate.io.files import nameable
from ablate.io.text import label, printable
from ablate.results import store
from ablate.results.findings import StudyFindings

if TYPE_CHECKING:
    from torch import Tensor, nn


def load(folder: str | Path) -> Results:
    """Load the results in a study's folder, finished or not. Raises InputError where it is no study."""
    path = nameable(Path(folder))
    if not path.exists():
        near = [p.name for p in path.parent.iterdir() if store.is_study(p)] if path.parent.is_dir() else []
        raise InputError(f"there is no such folder{did_you_mean(path.name, near)}", str(path))
    if not path.is_dir() or not store.is_study(path):
        hint = "; this is a file: give a folder, such as results/NAME" if path.is_file() else ""
        message = "is no study's folder: it holds neither lock.json nor trials; ablate run makes one"
        raise InputError(f"{message}{hint}", str(path))
    return Results(path)


@final
class Results(StudyFindings):
    """The results of a study; each part is read from its folder, or computed, on first use.

    >>> results = ablate.load("results/dit_conditioning")   # doctest: +SKIP
    >>> results.front(["kid", "gflops"])                    # doctest: +SKIP
    """

    def network(
        self,
        trial: str,
        average: str | float | None = None,
        device: str = "cpu",
        plugins: str | Path | Sequence[str | Path] = (),
    ) -> nn.Module:
        """Return the trained network of a trial, in eval mode, with averaged weights.

        trial: its name, as in the column `trial` of `trials`. average: the label of one (`ema` in `metrics`), a
        relative length to rebuild; the one that the study measures by default. device: `cpu`, `cuda` or `auto`.
        plugins: files or packages; one stands in for a file of the same name that has moved.

        `network(x, c_noise, labels)` as for `ablate.build`. Raises InputError where the trial's weights were not
        kept, a plugin is missing, or the source or the data are not those that it was trained with.
        """
        from ablate.worker import trained

        with in_python():
            return trained.network(self.path, trial, average, device, plugin_names(plugins))

    def sample(
        self,
        trial: str,
        n: int | None = None,
        average: str | float | None = None,
        device: str = "auto",
        plugins: str | Path | Sequence[str | Path] = (),
    ) -> Tensor:
        """Draw images of a trial, (n, C, H, W) uint8 on the CPU, by its own solver, guidance and random draws.

        They are those that the trial's metrics were measured on, bit for bit on the same device with as many threads:
        the first n of them, all by default. More than were measured are drawn as `ablate evaluate --samples n` draws
        them, with labels in the shares of n. Latents are decoded where the study decodes them. The other arguments,
        and what is refused, are as for `network`.
        """
        from ablate.worker import trained

        with in_python():
            return trained.sample(self.path, trial, n, average, device, plugin_names(plugins))

    def summary(self, plain: bool = False) -> Any:
        """Summarise the study: a table of the candidates, the verdict, and where the files are.

        For `rich` and for notebooks, or text without markup where `plain` is true (for logs and pipes).
        """
        from ablate.results import summary

        return summary.plain(self) if plain else summary.Summary(self)

    def figures(
        self,
        out: str | Path | None = None,
        formats: Sequence[str] = ("png", "svg"),
        names: Sequence[str] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> list[Path]:
        """Draw all figures for which there is something to show; return their paths.

        A figure that would mix values that may not be compared is left out; `summary` says which. One that cannot
        be drawn is named in one line by `say` (a Python warning by default), and the others are drawn.

        out: a folder, `figures/` in the study's folder by default. formats: of `png`, `svg` and `pdf`. names: such as
        `["front", "curves"]`, or all. Raises InputError for an unknown format or name.
        """
        from ablate.results.figures import figures

        return figures(self, nameable(Path(out)) if out is not None else self.path / "figures", formats, names, say)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {state}" for state, n in sorted(self.states.items())) or "no trials"
        return f"<Results {self.name!r} in {self.path}: {len(self.candidates)} candidates, {counts}>"

    def _repr_html_(self) -> str:
        from ablate.results.verdict import verdict

        try:
            front = self.front()
            front.columns = front.columns.map(printable)
            front = front.map(lambda v: label(v) if isinstance(v, str) else v)
            # The class keeps a notebook from taking what stands between two dollars for a formula.
            table = front.to_html(
                index=False, float_format=lambda v: f"{v:.4g}", na_rep="", classes="tex2jax_ignore mathjax_ignore"
            )
        except InputError as error:
            table = f"<p>{escape(printable(error))}</p>"
        content = f"<h3>{escape(self.name)}</h3><p>{escape(printable(verdict(self)))}</p>{table}"
        return f'<div class="tex2jax_ignore mathjax_ignore">{content}</div>'
