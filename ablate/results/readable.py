"""Files that may be cut short: what can be read of them, and a warning for what cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ablate.io.files import read_json
from ablate.io.sealed import DamagedError, read_sealed

SCHEMA = 1
READ = "read as far as it is understood"


def read_mapping(path: Path, warnings: list[str]) -> dict[str, Any]:
    """A JSON object; {} where there is no file, and where it is damaged, which is then named."""
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


def read_rows(path: Path, warnings: list[str]) -> list[dict[str, Any]]:
    """A JSON list of objects; [] where there is no file, and where it is damaged, which is then named."""
    try:
        data = read_json(path)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        warnings.append(f"{path}: cannot be read ({error})")
        return []
    if not isinstance(data, list):
        warnings.append(f"{path}: holds no list of points")
        return []
    return [point for point in data if isinstance(point, dict)]


def read_yaml(path: Path, warnings: list[str]) -> dict[str, Any]:
    """A YAML mapping as plain data; {} where it is absent or damaged."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            warnings.append(f"{path}: holds no study")
            return {}
        plain: dict[str, Any] = json.loads(json.dumps(data, default=str))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, YAMLError) as error:  # keys that are no text are TypeErrors
        warnings.append(f"{path}: cannot be read ({_line(error)})")
        return {}
    except RecursionError:
        warnings.append(f"{path}: cannot be read (nested too deeply)")
        return {}
    return plain


def _line(error: Exception) -> str:
    """An error in one line: the reader of YAML shows the place in several."""
    return " ".join(str(error).split())
