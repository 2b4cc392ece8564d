"""The environment of Ray's workers: variables that the study states, and Ray's own runtime environment."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from typing import Any

from ablate.errors import InputError

Variable = str | int | float | None
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def checked_variables(env: Mapping[str, Variable]) -> Mapping[str, Variable]:
    """Return variables as they are. Raises ValueError for what is no name, and for values that are no text."""
    for name, value in env.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an environment variable: letters, digits and '_', no digit first")
        if isinstance(value, str) and "\0" in value:
            raise ValueError(f"{name} holds a NUL, which no variable does")
    return env


def runtime_env_of(env: Mapping[str, Variable], more: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what Ray is given as `runtime_env`; None where a study states nothing.

    env: variables; None stands for the driver's own value, so that a token need not be written down. more: Ray's other
    keys, such as `pip` and `working_dir`. Raises InputError for a value that the driver has not, for a variable that is
    stated twice, and for what Ray does not take.
    """
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
