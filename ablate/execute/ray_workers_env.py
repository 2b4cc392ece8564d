"""The environment of Ray's workers: variables that the study states, and Ray's own runtime environment."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, StrictFloat, StrictInt, StrictStr, WithJsonSchema

from ablate.errors import InputError
from ablate.spec.explain import short

Variable = StrictStr | StrictInt | StrictFloat | None
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _pairs(value: Any) -> Any:
    """Return the pairs of a mapping, which has no hash; anything else as it is."""
    return tuple(value.items()) if isinstance(value, Mapping) else value


def _checked(env: tuple[tuple[str, Variable], ...]) -> tuple[tuple[str, Variable], ...]:
    """Return variables as they are. Raises ValueError for what is no name, and for a value that is no text."""
    for name, value in env:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{short(name)} is no name of an environment variable: letters, digits and '_'")
        if isinstance(value, str) and "\0" in value:
            raise ValueError(f"{name} holds a NUL, which no variable does")
    return env


def _as_json(value: Any) -> Any:
    """Return a mapping as JSON, which has a hash; a text as it is, where it is the JSON of a mapping."""
    if isinstance(value, str):
        content = json.loads(value)  # raises ValueError
        if not isinstance(content, dict):
            raise ValueError(f"expected a mapping, not {short(content)}")
        return value
    return json.dumps(value, sort_keys=True, allow_nan=False) if isinstance(value, Mapping) else value


# In a study both are mappings.
Variables = Annotated[
    tuple[tuple[str, Variable], ...],
    BeforeValidator(_pairs),
    AfterValidator(_checked),
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
