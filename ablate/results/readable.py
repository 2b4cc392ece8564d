"""Read files that may be damaged: what can be read of them, and a warning for what cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ablate.io.sealed import DamagedError, read_sealed

SCHEMA = 1
READ = "read as far as it is understood"


def read_mapping(path: Path, warnings: list[str]) -> dict[str, Any]:
    """Read a JSON object; {} without a file, and, with a warning, where it is damaged."""
    try:
        data = read_sealed(path)
    except FileNotFoundError:
        return {}
    except DamagedError as error:
        warnings.append(str(error))
        return {}
    if isinstance(schema := data.get("schema", SCHEMA), int) and schema > SCHEMA:
        warnings.append(f"{path}: schema {schema} was written by a newer ablate; {READ}")
    return data


def read_yaml(path: Path, warnings: list[str]) -> dict[str, Any]:
    """Read a YAML mapping as plain data; {} without a file, and, with a warning, where it is damaged."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            warnings.append(f"{path}: holds no study")
            return {}
        study: dict[str, Any] = json.loads(json.dumps(data, default=str))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, YAMLError) as error:  # keys that are no text are TypeErrors
        warnings.append(f"{path}: cannot be read ({_line(error)})")
        return {}
    except RecursionError:
        warnings.append(f"{path}: cannot be read (nested too deeply)")
        return {}
    return study


def _line(error: Exception) -> str:
    """Format an error in one line: the reader of YAML shows the place in several."""
    return " ".join(str(error).split())
