"""The modules of a composed network: what is told of each adds up to what the whole is said to cost."""

import pytest

from ablate.candidates.candidate import cost_of, meta_network
from ablate.candidates.network import fold, layers
from ablate.discovery.catalog import catalog
from ablate.kinds.backbone import Backbone
from ablate.spec.component import InputSpec
from ablate.spec.slots import create

SETTING = InputSpec((1, 16, 16), 10)
BACKBONES = [
    {"type": "dit", "patch": 4, "depth": 3, "width": 24, "heads": 2, "learned_sigma": False},
    {"type": "uvit", "patch": 4, "depth": 3, "width": 24, "heads": 2},
    {"type": "unet", "width": 16, "multipliers": [1, 2], "blocks": 1, "attention_resolutions": [8], "fusion": "gated"},
]


@pytest.mark.parametrize("spec", BACKBONES, ids=lambda spec: str(spec["type"]))
def test_the_modules_add_up_to_the_network(spec):
    backbone = create(Backbone, spec, catalog())
    rows = layers(meta_network(backbone, SETTING), SETTING)
    whole, cost = rows[0], cost_of(backbone, SETTING)
    assert (whole.path, whole.params, whole.gflops) == ("", cost.params, pytest.approx(cost.gflops))
    assert whole.inputs[0] == (1, *SETTING.shape) and whole.outputs == ((1, *SETTING.shape),)
    for row in rows:
        below = [other for other in rows if other.path.startswith(f"{row.path}.") and other.depth == row.depth + 1]
        assert sum(other.gflops for other in below) <= row.gflops * (1 + 1e-9)
    written = {row.file for row in rows}
    assert f"ablate_zoo/backbone/_{'unet' if spec['type'] == 'unet' else 'transformer'}_modules.py" in written


def test_equal_neighbours_are_one_row():
    backbone = create(Backbone, BACKBONES[0], catalog())
    rows = layers(meta_network(backbone, SETTING), SETTING)
    folded = fold(rows)
    assert [(row.path, row.equal) for row in folded if row.depth == 2 and row.path.startswith("blocks.")] == [
        ("blocks.0", 3)
    ]
    left_out = [row for row in rows if row.path.startswith(("blocks.1", "blocks.2"))]
    assert len(folded) + len(left_out) == len(rows)
    other = create(Backbone, {**BACKBONES[0], "drop_path": 0.1, "depth": 2}, catalog())
    assert len(fold(layers(meta_network(other, SETTING), SETTING))) < len(layers(meta_network(other, SETTING), SETTING))
