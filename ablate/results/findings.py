"""What a study found beyond single comparisons: how sure its front is, which choices matter, how it scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from ablate.errors import InputError
from ablate.results import origins
from ablate.results.analysis import StudyAnalysis
from ablate.results.factors.cells import cell_means
from ablate.results.factors.reversals import reversals
from ablate.results.fronts.attainment import LEVELS, attainment
from ablate.results.fronts.comparison import Comparison, compare
from ablate.results.fronts.hypervolumes import Hypervolume, hypervolume_of
from ablate.results.fronts.membership import membership
from ablate.results.isoflops import BUDGETS, IsoFlops, isoflops_of
from ablate.results.measurements import check_where
from ablate.results.searches.common import common
from ablate.results.searches.confirmed import confirmed
from ablate.results.searches.expected import expected
from ablate.results.searches.importance import RESAMPLES, importance
from ablate.results.searches.marginals import marginals, slices
from ablate.results.searches.progress import progress

if TYPE_CHECKING:
    import pandas as pd

    from ablate.candidates.objectives import Objective


class StudyFindings(StudyAnalysis):
    """Analyse the study as a whole. The last of the bases of `Results`."""

    def membership(
        self, objectives: Sequence[str] | None = None, where: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Compute the probability that each candidate is on the front: if its expected values were known.

        objectives, where: as of `front`. The candidates' expected values are drawn from what their seeds make probable
        (`ablate.results.fronts.probable`), and the front of each draw is computed. What is known before training is
        certain.

        Columns: candidate, config_hash, `c.*`, n (complete seeds), on_front (by the means), probability. It is missing
        without a value, and for all where too few seeds tell the spread between them: then `attrs["note"]` says so. It
        is 0 where a seed diverged or a constraint is broken, as the front has it. The most probable first. `attrs`:
        objectives, note.
        """
        return self.once(("membership", objectives, where), lambda: membership(self, objectives, where))

    def hypervolume(
        self,
        objectives: Sequence[str] | None = None,
        reference: Mapping[str, float] | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> Hypervolume:
        """Compute the hypervolume of the front with its 95 % interval, up to a reference point.

        What a seed does to all candidates alike is no part of the interval; `compare` counts it. reference: {objective:
        value}; that of the study (`reference:`) by default, else the front's own, which compares with no other (`fixed`
        is false). Raises InputError where the point lies inside the front, and as `front` does.
        """
        found: Hypervolume = self.remember(
            ("hypervolume", objectives, reference, where),
            lambda: hypervolume_of(self, objectives, reference, where),
        )
        return found

    def attainment(
        self,
        objectives: Sequence[str] | None = None,
        levels: Sequence[float] = LEVELS,
        where: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Compute attainment surfaces: what the front reaches at least with these probabilities, in %.

        Of two or three objectives. Between the surfaces of 2.5 and 97.5 % the front lies with 95 % at each place; that
        of 50 % is its median (Grunert da Fonseca & Fonseca 2001); beside what a seed does to all candidates alike.
        Columns: level, and one an objective; a row a corner of a surface. Raises NoSpreadError where too few seeds tell
        the spread between them, and InputError as `front`.
        """
        return self.once(("attainment", objectives, levels, where), lambda: attainment(self, objectives, levels, where))

    def expected(self, metric: str | None = None, where: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Compute what each candidate is expected to reach on fresh seeds: the best of many was partly lucky.

        metric: the study's own first one by default. Values are drawn towards those of all candidates, the more the
        more seeds differ and the fewer there are: empirical Bayes (`ablate.results.fronts.probable`).

        Columns: candidate, config_hash, `c.*`, n (complete seeds), mean, expected, low and high (95 %, beside the other
        candidates: what a seed does to all of them alike is no part of it). The best first. They are missing without a
        value, where a seed diverged or weights were inherited, and for all where too few seeds tell the spread, which
        `attrs["note"]` says. `attrs`: metric, spread (its median deviation over seeds; of the logarithm, so a share,
        where `relative`), note.
        """
        objective = self._measured(metric)
        check_where(self.metrics, [objective], where)
        return self.once(("expected", objective, where), lambda: expected(self, objective, where))

    def importance(self, of: str | None = None, resamples: int = RESAMPLES) -> pd.DataFrame:
        """Compute how much each choice matters for being good: PED-ANOVA (Watanabe et al. 2023), as Optuna does.

        of: a metric, the study's own first one by default, or "front" for the rank among the study's objectives.
        Compared are the choices of the best quarter of the candidates with those of all; choices that exist under
        others alone count where they exist (conditional PED-ANOVA, 2026). Where a seed diverged, a candidate is worst.

        Columns: path; importance, its share of all; low and high, 95 % of what random halves of the candidates give;
        p, by permutation, that chance gives as much; by_chance, what chance gives in the mean; choices (missing for a
        range) and n (candidates that have the path). The most important first. `attrs`: of, candidates, top (how many
        are the best). Raises InputError for fewer than 16 candidates that have ended, and as `front` does.
        """
        return importance(self, of, resamples)

    def marginals(self, metric: str | None = None) -> pd.DataFrame:
        """Compute what the candidates with each choice come to, a row a choice, whatever else they have.

        metric: the study's own first one by default. In a search that went where it was good, a choice that was tried
        beside good ones looks good: `main_effects` takes the others out, where they exist for all candidates.

        Columns: path, choice (of more than eight numbers, the quarter of the candidates in which they lie), n, mean,
        low and high (95 % t interval), best, best_candidate, on_front (how many are on the study's front). `attrs`:
        metric, objectives.
        """
        objective = self._measured(metric)
        return self.once(("marginals", objective), lambda: marginals(self, objective))

    def slices(self, metric: str | None = None) -> pd.DataFrame:
        """Return the points of a slice plot, a row a candidate and a path that varies.

        Columns: path, choice, number (the choice as one, where it is), candidate, config_hash, value.
        """
        objective = self._measured(metric)
        return self.once(("slices", objective), lambda: slices(self, objective))

    def common(self) -> pd.DataFrame:
        """Compare the choices of the front's members with those of the others: what they have in common.

        Columns: path, choice, front and of_front (members with the choice, of those that have the path), others and
        of_others, p (one-sided, Fisher's exact test: that chance puts as many on the front), p_holm (Holm 1979, over
        all rows). The least likely first. `attrs`: objectives, members, candidates.
        """
        return self.once("common", lambda: common(self))

    def progress(
        self, objectives: Sequence[str] | None = None, reference: Mapping[str, float] | None = None
    ) -> pd.DataFrame:
        """Compute how far the study had come after how much training, a row a candidate in the order of their ends.

        Columns: candidate, config_hash, train_gflops (of all trials that had ended by then, forward and backward),
        share (of the training of all), best (of the first measured objective, so far), hypervolume (of the means so
        far, up to the reference point of `front`), on_front (in the end). `attrs`: objectives, metric, reference_point,
        reference_from, note. Raises InputError where it is not recorded when trials ended, as in folders of earlier
        versions.
        """
        return self.once(("progress", objectives, reference), lambda: progress(self, objectives, reference))

    def cell_means(self, one: str, other: str, metric: str | None = None) -> pd.DataFrame:
        """Compute the means of the levels of two factors together: what an interaction looks like.

        one, other: paths of a design with several factors. metric: the study's own first one by default. See
        `ablate.results.factors.cells.cell_means` for the columns.
        """
        objective = self._measured(metric)
        origins.check(self.trials)
        return self.once(("cell means", objective, one, other), lambda: cell_means(self, objective, one, other))

    def reversals(self, metric: str | None = None) -> pd.DataFrame:
        """Find where ranks reverse: who is better at one budget or one cost, and worse at another.

        Budgets are the points of the training (`evaluate.at`), each beside the end, for the twelve candidates that are
        best there. Costs are levels of a factor that takes more or less Gflops, for the levels of the other factors.

        Columns: between ("images", or the path whose levels cost more or less), first and second (of it), one and
        other (candidates, or path=level), difference_first and difference_second (one − other, of opposite signs),
        p_first and p_second (one-sided t-tests), p (the larger of both: that both differences are what they seem, Gail
        & Simon 1985), p_holm (Holm 1979, over all that were compared: `attrs["compared"]`). The surest first. p is
        missing where nothing tells noise.
        """
        objective = self._measured(metric)
        origins.check(self.trials)
        return self.once(("reversals", objective), lambda: reversals(self, objective))

    def compare(
        self, other: Self, objectives: Sequence[str] | None = None, reference: Mapping[str, float] | None = None
    ) -> Comparison:
        """Compare the front with that of another study: `ablate compare`.

        See `ablate.results.fronts.comparison.compare` for the arguments, and `Comparison` for what is in it. Raises
        InputError where the two were trained on other data or measured in another way, with what differs.
        """
        return compare(self, other, objectives, reference)

    def isoflops(
        self, metric: str | None = None, size: str = "params", budgets: int | Sequence[float] = BUDGETS
    ) -> IsoFlops:
        """Compute which size is best for a compute of training, from quality during training (`evaluate.at`).

        The second approach of Hoffmann et al. 2022 (Chinchilla). metric: the study's own first one by default. size:
        `params` or `gflops` of the network. budgets: computes of training (Gflops, forward and backward), or how many
        of them. A point of a training stands for a training that ends there: with a learning rate that falls to 0 at
        the end of the budget it is worse than such a one. See `IsoFlops`.

        Raises InputError where candidates differ in more than their size, where fewer than three sizes were measured at
        one compute, and where the metric was not measured during training.
        """
        if size not in ("params", "gflops"):
            raise InputError(f"a size is counted in params or gflops, not in {size!r}", "size")
        objective = self._measured(metric)
        origins.check(self.trials)
        key = ("isoflops", objective, size, budgets)
        found: IsoFlops = self.remember(key, lambda: isoflops_of(self, objective, size, budgets))
        return found

    @property
    def confirmation(self) -> Self | None:
        """The results of the best candidates on fresh seeds alone (`ablate run --confirm`); None without them."""
        return confirmed(self)

    def _measured(self, metric: str | None) -> Objective:
        objective = self.objective(metric) if metric else self.quality
        if objective is None:
            raise InputError("no metric was measured; name a cost, such as 'gflops'", "metric")
        return objective
