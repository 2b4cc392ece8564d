"""The schema for editors: it is one, it takes what loads, and refuses what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from toy_study import PLUGIN, TEXT

from ablate.discovery.catalog import catalog
from ablate.study.jsonschema import study_schema
from ablate.study.yaml import parse, read

READY = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
CATALOG = catalog((str(PLUGIN),))
SCHEMA = study_schema(CATALOG)


def mistakes(data: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(data)]


def test_it_is_a_schema_of_plain_json() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_it_describes_every_component() -> None:
    for kind in CATALOG.kinds():
        assert SCHEMA["$defs"][kind]["anyOf"][0] == {"enum": CATALOG.names(kind)}
        for name in CATALOG.names(kind):
            described = SCHEMA["$defs"][f"{kind}.{name}"]
            assert described["properties"].keys() == {"type", *CATALOG.get(kind, name).model_fields}
            assert described["additionalProperties"] is False
    tokens = SCHEMA["$defs"]["backbone.toy_tokens"]
    assert tokens["description"] == "A convolution a layer, between patches."
    assert tokens["properties"]["depth"] == {"type": "integer", "minimum": 1, "maximum": 8, "default": 2}
    assert tokens["properties"]["norm"]["enum"] == ["layer", "group"]


@pytest.mark.parametrize("path", READY, ids=lambda p: p.stem)
def test_ready_studies_are_valid(path: Path) -> None:
    assert mistakes(read(path).data) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 3", "seed: 4"),
        ("      type: toy_scale\n", ""),  # the slot's own default
        ("schedule: linear", "schedule: {type: linear, zero_terminal_snr: true}"),
        ("type: adamw\n    ", ""),  # the kind's default
        ("    - 8\n    - 16", "    low: 1\n    high: 8"),
        ("samples: 200", "samples: 200\n  metrics: [fd, {type: kid}]"),
        ("seed: 3", "executor: {type: ray, workers: 2}"),
        ("seed: 3", "executor: null"),
    ],
)
def test_what_loads_is_valid(old: str, new: str) -> None:
    assert old in TEXT
    assert mistakes(parse(TEXT.replace(old, new, 1), Path("x")).data) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 3", "sede: 3"),
        ("depth: 2", "depht: 2"),
        ("depth: 2", "depth: 99"),
        ("depth: 2", "depth: two"),
        ("type: toy_tokens", "type: toy_token"),
        ("      type: toy_scale", "      type: toy_sclae"),
        ("schedule: linear", "schedule: linaer"),
        ("images: 3_200", "imgaes: 3_200"),
        ("study: toy_conditioning", "study: ../evil"),
        ("    - 8\n    - 16", "    low: 1\n    hihg: 8"),
        ("samples: 200", "samples: 200\n  metrics: [kdi]"),
    ],
)
def test_what_does_not_load_is_invalid(old: str, new: str) -> None:
    assert old in TEXT
    assert mistakes(parse(TEXT.replace(old, new, 1), Path("x")).data)
