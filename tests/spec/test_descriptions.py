"""What an author says of a field is shown everywhere, in whichever of three ways it is written."""

from dataclasses import dataclass

import pytest
from pydantic import Field

from ablate.cli.describe import as_text, describe
from ablate.discovery.catalog import Catalog, catalog
from ablate.spec.component import Config
from ablate.spec.descriptions import descriptions
from ablate.study.jsonschema import study_schema

PLUGIN = '''
from typing import Annotated

from pydantic import Field

from ablate.api import Choice, Fusion, Gate, slot


class Mean(Fusion):
    """The mean of both."""

    name = "mean"

    by_comment: Annotated[int, Field(ge=1), Choice(1, 2)] = 1  # said in a comment
    by_docstring: Annotated[int, Field(ge=1), Choice(1, 2)] = 1
    """Said in a docstring,

    over several lines.
    """
    by_pydantic: Annotated[int, Field(ge=1, description="said to pydantic")] = 1
    twice: Annotated[int, Field(description="said to pydantic")] = 1  # and in a comment
    gate: Gate = slot("none")
    """A slot has a docstring too."""
    silent: int = 1

    def build(self, deep, skip, context):
        raise NotImplementedError
'''
TEXTS = {
    "by_comment": "said in a comment",
    "by_docstring": "Said in a docstring, over several lines.",
    "by_pydantic": "said to pydantic",
    "twice": "said to pydantic",
    "gate": "A slot has a docstring too.",
}


@pytest.fixture(scope="module")
def mean(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    file = tmp_path_factory.mktemp("plugin") / "mean_of_both.py"
    file.write_text(PLUGIN)
    return catalog((str(file),))


def test_plugins_show_gives_each_description(mean: Catalog) -> None:
    description = describe(mean.entry("fusion", "mean"), mean)
    assert {field["name"]: field["comment"] for field in description["fields"] if field["comment"]} == TEXTS
    lines = as_text(description).splitlines()
    for name, text in TEXTS.items():
        (at,) = (i for i, line in enumerate(lines) if line.startswith(f"  {name}: "))
        assert f"      {text}" in lines[at + 1 : at + 3]


def test_the_schema_gives_each_description(mean: Catalog) -> None:
    fields = study_schema(mean)["$defs"]["fusion.mean"]["properties"]
    texts = {name: " ".join(field["description"].split()) for name, field in fields.items() if "description" in field}
    assert texts == TEXTS


def test_a_study_s_own_keys_are_described_in_the_schema(mean: Catalog) -> None:
    schema = study_schema(mean)
    assert schema["properties"]["probes"]["description"] == "what looks on while candidates are trained"
    assert schema["properties"]["base"]["description"] == "the complete, runnable baseline"


def test_descriptions_are_inherited_and_replaced() -> None:
    class Base(Config):
        kept: int = 1  # as the base says
        documented: int = 1
        """As the base documents."""
        again: int = 1  # before

    class Below(Base):
        again: int = 2  # after
        longer: tuple[
            int,
            int,
        ] = (1, 2)  # behind the last line

    expected = {"kept": "as the base says", "documented": "As the base documents.", "again": "after"}
    assert descriptions(Below) == {**expected, "longer": "behind the last line"}


def test_a_class_without_source_is_described_by_what_pydantic_knows() -> None:
    size = Field(1, description="in pixels")
    cls = type("Made", (Config,), {"__annotations__": {"size": int}, "__module__": __name__, "size": size})
    assert descriptions(cls) == {"size": "in pixels"}
    assert descriptions(type("Other", (), {})) == {}


def test_the_types_of_methods_are_described_by_comments() -> None:
    @dataclass
    class Sample:
        width: int  # in pixels
        height: int

    assert descriptions(Sample) == {"width": "in pixels"}
