"""Every component that is installed, by every check of its kind."""

import functools
import json

import data_for_tests
import pytest

from ablate.discovery.catalog import catalog
from ablate.kinds.executor import Executor
from ablate.testing import Case, NotApplicable, checks, common, elsewhere
from ablate.testing.run import call

# Values for the components that have fields without a default: {"data/folder": {"path": ...}}.
EXAMPLES: dict[str, dict] = {
    **data_for_tests.SPECS,
    "features/classifier": {"steps": 2},  # trained here
    "executor/replay": {"table": "table.parquet"},
    "executor/slurm": {"system": "local"},
    "condition/scalars": {"columns": ["width", "height", "crop_top"]},
}

# What may be skipped: a claim that is not made, and kinds of which the zoo has too few.
MAY_SKIP = {
    "is_the_identity_where_it_says_so",
    "has_unit_variance_where_it_says_so",
    "never_opens_with_noise_where_it_says_so",
    "goes_through_its_table",
    "grows_worse_with_noise",
    "tells_copies_of_what_was_trained_on",
    "is_decided_by_its_seed",
    "takes_the_candidates_it_is_given",
    "works_without_labels",
    "trains_its_companion",
    "moves_image_and_noise_together",
    "works_on_some_of_the_patches",
    "hands_on_what_is_of_each_token",
    "has_the_same_parameters_at_its_base_width",
    "adds_to_each_image_alone",
    "turns_by_angles",
    "keeps_image_and_noise_together",
    "weakens_a_copy_of_the_network",
    "guides_by_conditions",
    "learns_from_its_teacher",
    "trains_a_smaller_sibling",
    "tells_which_patches_it_hides",
    "tells_its_projections_where_it_says_so",
    "reads_the_noise_where_it_says_so",
    "is_a_mean_over_numbers_where_it_says_so",
}

# What does nothing: it pauses nobody, adds no seeds, routes all tokens through all blocks, and normalises nothing.
DO_NOTHING = {"fidelity/none", "seeding/fixed", "routing/none", "norm/none"}

# Features whose weights are downloaded; tests/zoo/test_features.py checks them with weights of its own.
DOWNLOADED = {"features/inception_v3", "features/dinov2"}

# Each check of Ray starts a cluster. These are guarded in the normal run by what is asked of one pool of Ray: in
# tests/execute/test_pools.py round trip, slots, exceptions and reports that are none, in test_ray.py threads and a
# worker that is killed. What waits and closes is asked there of no pool of Ray, and here.
OF_ONE_POOL = {"runs_every_job_once", "reports_what_fails", "replaces_a_worker_that_dies"}

CASES = {
    f"{entry.kind}/{entry.name}": Case(entry, catalog(), EXAMPLES.get(f"{entry.kind}/{entry.name}"))
    for entry in catalog().entries()
    if entry.distribution == "ablate"
}


@functools.cache
def digests_of_examples():
    """The digests of all components of EXAMPLES in another process, which is started once for all of them."""
    for kind in ("data", "autoencoder"):
        data_for_tests.lay_out(kind)
    specs = [[case.kind, case.entry.full_name, case.given] for name, case in CASES.items() if name in EXAMPLES]
    return json.loads(elsewhere._run((), False, json.dumps(specs)))["digests"]


@pytest.fixture(autouse=True)
def _examples_elsewhere_at_once(monkeypatch):
    plain = elsewhere.digest_elsewhere
    monkeypatch.setattr(
        common,
        "digest_elsewhere",
        lambda case: plain(case) if case.spec is None else digests_of_examples()[f"{case.kind}/{case.entry.full_name}"],
    )


def marks(name, check):
    return pytest.mark.thorough if name == "executor/ray" and check.__name__ in OF_ONE_POOL else ()


@pytest.mark.parametrize(
    ("case", "check"),
    [
        pytest.param(case, one, id=f"{name}: {one.__name__}", marks=marks(name, one))
        for name, case in CASES.items()
        for one in checks(case.entry.cls)
    ],
)
def test_conforms(case, check):
    data_for_tests.lay_out(case.kind)
    try:
        call(check, case)
    except NotApplicable as reason:
        name = f"{case.kind}/{case.entry.name}"
        elsewhere = name in DOWNLOADED and "not to be had here" in str(reason)
        replays = isinstance(case.component, Executor) and not case.component.measures  # tests/engine/test_replay.py
        absent = isinstance(case.component, Executor) and not case.component.available()  # such as without submitit
        absent = absent or (case.kind == "tracker" and "is not installed" in str(reason))  # tests/zoo/test_trackers.py
        assert check.__name__ in MAY_SKIP or elsewhere or replays or absent or name in DO_NOTHING, reason
        pytest.skip(str(reason))


def test_claims_are_made_somewhere():
    """A check of a claim that nothing makes would check nothing."""
    claimed = frozenset().union(*(case.component.provides() for case in CASES.values()))
    assert {"identity_at_start", "unit_variance", "null_class", "labels", "discrete", "monotone_in_noise"} <= claimed
