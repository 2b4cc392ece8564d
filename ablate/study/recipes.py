"""Known networks as recipes: `base: {model: NAME}` in a study, and what stands beside it in the place of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.discovery.plugin_sources import folders
from ablate.errors import InputError, did_you_mean
from ablate.errors import Path as Keys
from ablate.study.yaml import Document, read

MODEL = "model"
DATA = ("shape", "classes")  # what a model file says of the data that its paper trained with


def is_model(document: Document) -> bool:
    """Return whether a file is a known network, not a study: it has its shape, which a study has from its data."""
    return "shape" in document.data and not {"study", "data"} & document.data.keys()


def model_files() -> dict[str, Path]:
    """Return the known networks by name: files of a folder `models` in the package of an installed plugin."""
    files = (file for folder in folders("models") for file in sorted(folder.glob("*.yaml")))
    found: dict[str, Path] = {}
    for file in files:
        found.setdefault(file.stem, file)
    return found


def read_model(name: str, root: Path, where: str | None) -> Document:
    """Read a known network by its name, or by its file from `root` on. Raises InputError where there is none."""
    if name.endswith((".yaml", ".yml")):
        document = read(root / Path(name).expanduser())
    elif (file := (known := model_files()).get(name)) is not None:
        document = read(file)
    else:
        raise InputError(f"there is no model {name!r}{did_you_mean(name, sorted(known))}", where)
    if not is_model(document):
        raise InputError(f"{document.file} is no model: it does not say a shape; studies/models/ has examples", where)
    if MODEL in parts(document.data):
        raise InputError(f"{document.file} names another model, which only a study does; write its parts out", where)
    return document


def parts(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model file says of a candidate, `base:`-shaped."""
    inner = model.get("base", model)
    return {key: value for key, value in inner.items() if key not in DATA}


def overridden(recipe: Any, own: Any) -> Any:
    """Return a part of a recipe with what a study says of it.

    Fields of a component go in among its fields; another component, a number and a list take the part's place. The name
    of the recipe's own component alone leaves it as it is.
    """
    if isinstance(recipe, Mapping) and own == recipe.get("type", recipe):
        return recipe
    if not isinstance(own, Mapping) or not isinstance(recipe, str | Mapping):
        return own
    whole = {"type": recipe} if isinstance(recipe, str) else recipe
    if "type" in own and own["type"] != whole.get("type"):
        return own
    return {**whole, **{key: overridden(whole[key], value) if key in whole else value for key, value in own.items()}}


def with_recipe(document: Document, root: Path) -> Document:
    """Return a study whose base is written out where it names a model; problems in it are told at their own lines.

    root: from where files go out. Raises InputError for a model that is none.
    """
    base = document.data.get("base")
    if not isinstance(base, Mapping) or MODEL not in base:
        return document
    where, name = document.where(("base", MODEL)), base[MODEL]
    if not isinstance(name, str):
        raise InputError(f"expected the name of a model, such as edm_cifar10_ddpmpp, or its file, not {name!r}", where)
    model = read_model(name, root, where)
    own = {key: value for key, value in base.items() if key != MODEL}
    given = {path for path in document.lines if path[:1] == ("base",)}
    origins = {("base", *path): place for path, place in _places(model) if ("base", *path) not in given}
    return replace(
        document,
        data={**document.data, "base": overridden(parts(model.data), own)},
        origins={**origins, **document.origins},
    )


def _places(model: Document) -> Iterator[tuple[Keys, str]]:
    """Yield the place of each part of a model file, by its path in a candidate."""
    inner = model.data.get("base") is not None
    for path, line in model.lines.items():
        below = path[1:] if inner and path[:1] == ("base",) else path
        if below and below[0] not in DATA:
            yield below, f"{model.file}:{line}"
