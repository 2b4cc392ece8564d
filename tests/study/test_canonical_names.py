"""A value has a famous name only where it was measured as that name is defined: on both sides with enough pictures."""

import pytest
from segments_for_tests import CACHE

import ablate
from ablate.results import load

PLUGIN = '''
import hashlib
from ablate.api import Features

class Eye(Features):
    """Raw pixels, whose distance is famous from so many pictures on."""
    name = "eye"
    canonical = {"fd": ("famous", 120)}

    def build(self, device):
        return lambda images: images.float().flatten(1)[:, ::7]

    def weights_hash(self):
        return hashlib.sha256(b"").hexdigest()
'''


def test_a_study_is_judged_by_what_its_values_are_called(tmp_path, monkeypatch):
    """120 samples and 100 reference pictures: engine, lock, tables and search use one name."""
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    (tmp_path / "eye.py").write_text(PLUGIN)
    study = {
        "study": "names",
        "plugins": [str(tmp_path / "eye.py")],
        "data": {"type": "digits", "reference": 100},
        "base": {
            "backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 1},
            "solver": {"type": "dpmpp_2m", "steps": 2},
            "batch": 8,
        },
        "budget": {"steps": 1},
        "evaluate": {"metrics": [{"type": "fd", "features": "eye"}], "samples": 120, "previews": 0},
        "objectives": ["fd", "gflops"],
        "constraints": {"fd": {"at_most": 1e-9}},
    }
    name = "fd_eye"
    results = ablate.run(study, tmp_path / "out", executor="local")
    assert set(results.metrics["metric"]) == {name}
    assert results.quality.column == name
    for objective in ("fd", "famous", name):
        front = results.front([objective, "gflops"])
        assert front[name].notna().all(), "the value that was measured is found"
        assert front["violates"].iloc[0].startswith("fd "), "a bound on it holds"
    import optuna

    storage = f"sqlite:///{tmp_path / 'out' / 'optuna.db'}"
    optuna_study = optuna.load_study(study_name=None, storage=storage)
    assert optuna_study.metric_names == ["fd", "gflops"], "the dashboard calls them so"
    (trial,) = optuna_study.trials
    assert trial.values == pytest.approx(load(tmp_path / "out").front()[[name, "gflops"]].iloc[0].tolist())
