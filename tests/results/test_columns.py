"""Every column of every result table has a description: what it means, its unit, and which direction is better."""

from pathlib import Path

import pytest
from results_folders import METRIC

import ablate
from ablate.results.data_dictionary import COLUMNS, OPEN

ROOT = Path(__file__).parents[2]
FOLDERS = [*sorted((ROOT / "results" / "curated").glob("*/lock.json")), ROOT / "tests/fixtures/older/lock.json"]


def undescribed(results):
    table = results.columns
    return table.loc[table["meaning"] == "", ["table", "column"]].values.tolist()


@pytest.mark.parametrize("lock", FOLDERS, ids=lambda lock: lock.parent.name)
def test_every_column_of_a_committed_study_is_described(lock):
    assert undescribed(ablate.load(lock.parent)) == []


def test_the_table_of_columns_says_the_direction_of_the_studys_own_metrics_and_of_costs(conditioning):
    results = ablate.load(conditioning.path)
    assert undescribed(results) == []
    table = results.columns.set_index(["table", "column"])
    assert table.loc[("trials", f"m.{METRIC}"), "better"] == "smaller"
    assert table.loc[("effects", "difference"), "better"] == "smaller"
    assert tuple(table.loc[("front", "gflops"), ["unit", "better"]]) == ("Gflops", "smaller")
    assert tuple(table.loc[("trials", "seed"), ["unit", "better"]]) == ("", "")


def test_no_description_is_of_a_column_that_is_gone(conditioning):
    results = ablate.load(conditioning.path)
    frames = {"trials": results.trials, "metrics": results.metrics, "curves": results.curves, "probes": results.probes}
    frames |= {"front": results.front(), "effects": results.effects()}
    frames |= {"membership": results.membership(), "expected": results.expected(), "attainment": results.attainment()}
    frames |= {"marginals": results.marginals(), "slices": results.slices(), "common": results.common()}
    frames |= {"reversals": results.reversals()}
    # In a study with constraints, in one with replayed or reused trials, with routing, or with compiled networks.
    optional = {
        "front": {"violates"},
        "trials": {
            "replayed",
            "simulated_end",
            "origin",
            "train_pass_gflops",
            "continued_from",
            "continued_images",
            "ended",
            "compile_seconds",
            "packed",
            "devices",
            "device_busy",
            "trainable_params",
            "inherited_from",
            "inherited_share",
            "inherited_gap",
            "ancestors",
            "ancestors_train_gflops",
        },
        # On the log scale, and with a margin of equivalence.
        "effects": {"ratio", "ratio_low", "ratio_high", "p_equivalent"},
    }
    for name, frame in frames.items():
        fixed = {column for column in COLUMNS[name] if not column.startswith((*OPEN, "<"))} - optional.get(name, set())
        assert fixed <= set(frame.columns), name
