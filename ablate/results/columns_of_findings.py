"""The data dictionary of the tables that say what a study found as a whole: fronts, searches, designs of factors."""

from __future__ import annotations

from collections.abc import Mapping

from ablate.results.column_doc import CANDIDATE, CHOICE, HASH, ColumnDoc

TABLES = {
    "membership": "A row a candidate: how probably it is on the front, if its expected values were known.",
    "attainment": "A row a corner of a surface that the front attains with a given probability.",
    "expected": "A row a candidate: what it is expected to reach on fresh seeds, as the best of many was partly lucky.",
    "importance": "A row a path: how much its choices matter for being good.",
    "marginals": "A row a choice: what the candidates with it come to, whatever else they have.",
    "slices": "A row a candidate and a path that varies: the points of a slice plot.",
    "common": "A row a choice: how many on the front have it, and how many of the others.",
    "progress": "A row a candidate, in the order in which they ended: how far the study had come by then.",
    "cell_means": "A row a combination of the levels of two factors: its mean, averaged over the other factors.",
    "reversals": "A row a pair that changes its order between two budgets, or two costs.",
}

_LEVEL_CHOICE = ColumnDoc("the choice; of more than eight numbers, the quarter of the candidates in which it lies")
_PATH = ColumnDoc("the path of the study file that varies")
_OWN = "the metric's own"
_SHARED = {"candidate": CANDIDATE, "config_hash": HASH}

COLUMNS: Mapping[str, Mapping[str, ColumnDoc]] = {
    "membership": {
        **_SHARED,
        "c.<path>": CHOICE,
        "n": ColumnDoc("complete seeds in which every objective is finite", "seeds"),
        "on_front": ColumnDoc("whether it is on the front by its means"),
        "probability": ColumnDoc(
            "how probably it is on the front: the share of draws of the candidates' expected values in which it is "
            "(hierarchical model, shrunk); 0 where a seed diverged or a constraint is broken; missing without a value, "
            "and where too few seeds tell the spread"
        ),
    },
    "attainment": {
        "level": ColumnDoc("the front attains the surface with this probability", "%"),
        "<objective>": ColumnDoc("a corner of the surface", "the objective's own", "as the objective"),
    },
    "expected": {
        **_SHARED,
        "c.<path>": CHOICE,
        "n": ColumnDoc("complete seeds", "seeds"),
        "mean": ColumnDoc("the mean over them", _OWN, "as the metric"),
        "expected": ColumnDoc(
            "what it is expected to reach on fresh seeds: drawn towards the other candidates (empirical Bayes); "
            "missing where a seed diverged, and where too few seeds tell the spread",
            _OWN,
            "as the metric",
        ),
        "low": ColumnDoc("lower end of its 95 % interval", _OWN),
        "high": ColumnDoc("upper end of that interval", _OWN),
    },
    "importance": {
        "path": _PATH,
        "importance": ColumnDoc(
            "share of what tells the best quarter of the candidates from all (PED-ANOVA, conditional where a path "
            "exists for some candidates alone)",
            "of 1",
        ),
        "low": ColumnDoc("lower end of 95 % of what random halves of the candidates give", "of 1"),
        "high": ColumnDoc("upper end of these", "of 1"),
        "p": ColumnDoc("by permutation: how often chance gives as much"),
        "by_chance": ColumnDoc("what chance gives in the mean", "of 1"),
        "choices": ColumnDoc("how many choices there are; missing for a range of numbers"),
        "n": ColumnDoc("candidates that have the path", "candidates"),
    },
    "marginals": {
        "path": _PATH,
        "choice": _LEVEL_CHOICE,
        "n": ColumnDoc("candidates with it that have a value and lost no seed", "candidates"),
        "mean": ColumnDoc("mean of their values", _OWN, "as the metric"),
        "low": ColumnDoc("lower end of the 95 % interval of that mean (Student's t)", _OWN),
        "high": ColumnDoc("upper end of that interval", _OWN),
        "best": ColumnDoc("the best of their values", _OWN, "as the metric"),
        "best_candidate": ColumnDoc("the candidate that has it"),
        "on_front": ColumnDoc("how many of them are on the study's front", "candidates"),
    },
    "slices": {
        "path": _PATH,
        "choice": _LEVEL_CHOICE,
        "number": ColumnDoc("the choice as a number; missing where it is none"),
        **_SHARED,
        "value": ColumnDoc("the candidate's mean over its seeds", _OWN, "as the metric"),
    },
    "common": {
        "path": _PATH,
        "choice": _LEVEL_CHOICE,
        "front": ColumnDoc("members of the front with the choice", "candidates"),
        "of_front": ColumnDoc("members of the front that have the path", "candidates"),
        "others": ColumnDoc("other candidates with the choice", "candidates"),
        "of_others": ColumnDoc("other candidates that have the path", "candidates"),
        "p": ColumnDoc("one-sided, Fisher's exact test: how probably chance puts as many of them on the front"),
        "p_holm": ColumnDoc("the same after Holm's correction over all rows: below 0.05 is significant"),
    },
    "progress": {
        **_SHARED,
        "train_gflops": ColumnDoc("training of all trials that had ended by then, forward and backward", "Gflops"),
        "share": ColumnDoc("the same as a share of the training of all trials"),
        "best": ColumnDoc("the best mean of the first measured objective so far", _OWN, "as the metric"),
        "hypervolume": ColumnDoc(
            "hypervolume of the means so far, up to attrs['reference_point']", "the objectives' product", "larger"
        ),
        "on_front": ColumnDoc("whether the candidate is on the front in the end"),
    },
    "cell_means": {
        "one": ColumnDoc("the level of the first factor"),
        "other": ColumnDoc("the level of the second factor"),
        "mean": ColumnDoc("least-squares mean of the two together", _OWN, "as the metric"),
        "low": ColumnDoc("lower end of its 95 % interval (Student's t)", _OWN),
        "high": ColumnDoc("upper end of that interval", _OWN),
    },
    "reversals": {
        "between": ColumnDoc("`images`, for two points of the training, or the path whose levels differ in cost"),
        "first": ColumnDoc("the smaller of the two"),
        "second": ColumnDoc("the larger of the two"),
        "one": ColumnDoc("a candidate, or path=level"),
        "other": ColumnDoc("the one that it changes its order with"),
        "difference_first": ColumnDoc("one − other at the first", _OWN, "as the metric"),
        "difference_second": ColumnDoc("one − other at the second, of the opposite sign", _OWN, "as the metric"),
        "p_first": ColumnDoc("one-sided p of the first difference (Student's t)"),
        "p_second": ColumnDoc("one-sided p of the second difference"),
        "p": ColumnDoc("the larger of the two: that both differences are what they seem"),
        "p_holm": ColumnDoc("the same after Holm's correction over all pairs that were compared: below 0.05 is shown"),
    },
}
