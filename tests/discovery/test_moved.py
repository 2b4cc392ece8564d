"""A plugin that was written for the first layout of the modules is told where they stand now."""

import importlib.util
from pathlib import Path

import pytest

from ablate.discovery.catalog import Catalog
from ablate.discovery.moved import MOVED


def test_every_module_that_has_moved_is_where_it_is_said_to_be():
    missing = [new for new in MOVED.values() if importlib.util.find_spec(new) is None]
    assert not missing


@pytest.mark.parametrize(
    ("line", "now"),
    [
        ("from ablate.component import Spec", "ablate.component is now ablate.spec.component"),
        ("from ablate.training import Training", "ablate.training is now ablate.training.loop"),
        ("from ablate import judge", "ablate.judge is now ablate.evaluation.metric_evaluator"),
        ("import ablate_zoo.modules.attention", "ablate_zoo.modules is now ablate_zoo.layers"),
    ],
)
def test_a_plugin_of_the_first_layout_is_told_in_one_sentence_what_to_change(tmp_path: Path, line: str, now: str):
    file = tmp_path / "older.py"
    file.write_text(f"{line}\n")
    (broken,) = [one for one in Catalog((str(file),)).broken if one.plugin == str(file)]
    assert f": {now}; what ablate.api has is best imported from there" in broken.traceback.splitlines()[-1]
