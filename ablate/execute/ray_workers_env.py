"""The environment of Ray's workers: variables that the study states, and Ray's own runtime environment."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from ablate.errors import InputError
from ablate.spec.explain import short

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _pairs(value: Any) -> Any:
    """Return the pairs of a mapping, which has no hash. Raises ValueError for what are no variables."""
    if not isinstance(value, Mapping | list | tuple):
        raise ValueError(f"expected a mapping, such as {{HF_HOME: /data}}, not {short(value)}")
    pairs = tuple(value.items()) if isinstance(value, Mapping) else tuple(value)
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(f"expected a mapping, such as {{HF_HOME: /data}}, not {short(value)}")
        name, text = pair
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{short(name)} is no name of an environment variable: letters, digits and '_'")
        if isinstance(text, bool) or not isinstance(text, str | int | float | None):
            raise ValueError(f"{name}: expected a text, a number or null, not {short(text)}; true and false in quotes")
        if isinstance(text, str) and "\0" in text:
            raise ValueError(f"{name} holds a NUL, which no variable does")
    return pairs


def _as_json(value: Any) -> Any:
    """Return a mapping as JSON, which has a hash; a text as it is, where it is the JSON of a mapping."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            if isinstance(json.loads(value), dict):
                return value
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping, such as {{pip: [einops]}}, not {short(value)}")
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"holds what is no JSON: {error}") from None


# In a study both are mappings.
Variables = Annotated[
    tuple[tuple[str, Any], ...],
    BeforeValidator(_pairs),
    WithJsonSchema({"type": ["object", "array"], "additionalProperties": {"type": ["string", "number", "null"]}}),
]
RuntimeEnv = Annotated[str, BeforeValidator(_as_json), WithJsonSchema({"type": ["object", "string"]})]


def runtime_env_of(variables: Variables, json_of_more: RuntimeEnv) -> dict[str, Any] | None:
    """Return what Ray is given as `runtime_env`; None where a study states nothing.

    variables: of the environment; None stands for the driver's own value, so that a token need not be written down.
    json_of_more: Ray's other keys, such as `pip` and `working_dir`. Raises InputError for a value that the driver has
    not, for a variable that is stated twice, and for what Ray does not take.
    """
    env, more = dict(variables), json.loads(json_of_more)
    if not env and not more:
        return None
    missing = [name for name, value in env.items() if value is None and name not in os.environ]
    if missing:
        names = ", ".join(missing)
        raise InputError(
            f"takes {names} from the driver, which has none: export it first, or give a value", "executor.env"
        )
    stated = more.get("env_vars") or {}
    if not isinstance(stated, Mapping):
        raise InputError(f"env_vars: expected a mapping, not {stated!r:.100}", "executor.runtime_env")
    if twice := sorted(stated.keys() & env.keys()):
        raise InputError(f"{', '.join(twice)} stands in `env` too; keep one of the two", "executor.runtime_env")
    own = {name: os.environ[name] if value is None else str(value) for name, value in env.items()}
    asked = {**more, "env_vars": {**stated, **own}}
    try:
        importlib.import_module("ray.runtime_env").RuntimeEnv(**asked)
    except (TypeError, ValueError, OSError, RuntimeError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"Ray does not take it: {reason}", "executor.runtime_env") from error
    return asked
