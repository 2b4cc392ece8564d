"""Samplers by their import path: of any package, or of OptunaHub."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ablate.api import InputError

if TYPE_CHECKING:
    import optuna

HUB = "optunahub"  # what stands before the colon for a package of OptunaHub


def imported_sampler(path: str, arguments: Mapping[str, Any], seed: int) -> optuna.samplers.BaseSampler:
    """Build the sampler of `package.module:Class`, or of `optunahub:<its folder there>`, with a seed if it takes one.

    Raises InputError where it is not installed, is no sampler, or does not take the arguments.
    """
    source, _, name = path.partition(":")
    cls = _of_hub(name) if source == HUB else _of_module(source, name)
    takes_seed = "seed" in inspect.signature(cls).parameters and "seed" not in arguments
    try:
        sampler: optuna.samplers.BaseSampler = cls(**arguments, **({"seed": seed} if takes_seed else {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"sampler {path!r} does not take these arguments: {error}", "design.arguments") from None
    return sampler


def _of_module(module: str, name: str) -> Any:
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise InputError(f"sampler '{module}:{name}' cannot be imported: {error}", "design.algorithm") from None
    except AttributeError:
        raise InputError(f"there is no {name!r} in {module!r}", "design.algorithm") from None
    if not _is_sampler(found):
        raise InputError(
            f"'{module}:{name}' is no sampler of Optuna's (optuna.samplers.BaseSampler)", "design.algorithm"
        )
    return found


def _of_hub(package: str) -> Any:
    """Return the sampler of a package of OptunaHub: the one class in it that is one."""
    try:
        optunahub = importlib.import_module("optunahub")
    except ImportError:
        message = f"sampler 'optunahub:{package}' needs the package optunahub: pip install optunahub"
        raise InputError(message, "design.algorithm") from None
    try:
        module = optunahub.load_module(package)
    except Exception as error:  # noqa: BLE001 - whatever the network, the hub or the package's own code raise
        message = f"OptunaHub gives no package {package!r}: {type(error).__name__}: {error}"
        raise InputError(message, "design.algorithm") from None
    samplers = [value for value in vars(module).values() if _is_sampler(value) and value.__module__ == module.__name__]
    samplers = samplers or [value for value in vars(module).values() if _is_sampler(value)]
    if len(samplers) != 1:
        raise InputError(f"OptunaHub's package {package!r} has {len(samplers)} samplers, not one", "design.algorithm")
    return samplers[0]


def _is_sampler(value: Any) -> bool:
    import optuna

    return isinstance(value, type) and issubclass(value, optuna.samplers.BaseSampler)
