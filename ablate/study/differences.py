"""What two trees of JSON differ in, a line each, for messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_ABSENT = object()


def differences(then: Any, now: Any, path: str = "") -> list[str]:
    """Return `path: old -> new` for every place in which two JSON trees differ."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        keys = [*then, *(key for key in now if key not in then)]
        return [
            line
            for key in keys
            for line in differences(then.get(key, _ABSENT), now.get(key, _ABSENT), f"{path}.{key}" if path else key)
        ]
    return [] if then == now else [f"{path}: {_show(then)} -> {_show(now)}"]


def _show(value: Any) -> str:
    return "(not there)" if value is _ABSENT else json.dumps(value)
