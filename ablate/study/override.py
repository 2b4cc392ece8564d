"""Overrides (`--set PATH=VALUE`) and profiles: values that replace those of the study file."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.errors import Argument, InputError, did_you_mean
from ablate.errors import Path as Keys
from ablate.study.yaml import Document, value


def applied(document: Document, profile: str | None, overrides: Sequence[str]) -> Document:
    """Return the document with a profile, then with each override in order. Raises InputError for a bad one."""
    if profile is not None:
        document = _with_profile(document, profile)
    for override in overrides:
        path, separator, text = override.partition("=")
        origin = Argument("overrides", override if len(override) <= 200 else f"{override[:197]}...")
        if not separator or not path.strip():
            raise InputError("expected PATH=VALUE, such as budget.images=20000", origin)
        document = document.with_value(_keys(path.strip(), origin), value(text, origin), origin)
    return document


def _with_profile(document: Document, profile: str) -> Document:
    entry = document.data.get("profiles")
    profiles = entry if isinstance(entry, dict) else {}
    values = profiles.get(profile)
    if profile not in profiles:
        hint = did_you_mean(profile, profiles) or "; the study has none"
        raise InputError(f"there is no profile {profile!r}{hint}", Argument("profile", profile))
    if not isinstance(values, dict):
        raise InputError(f"expected a mapping of dotted paths, not {values!r}", document.where(("profiles", profile)))
    for path, new_value in values.items():
        origin = document.where(("profiles", profile, path)) or f"profile {profile}"
        document = document.with_value(_keys(path, origin), new_value, origin)
    return document


def _keys(path: str, origin: str | None) -> Keys:
    """Return the keys of a dotted path; a path below `vary` is one key."""
    first, _, rest = path.partition(".")
    if first == "profiles":
        raise InputError("the profiles of a study are not set, but chosen by --profile", origin)
    if first == "vary":
        return (first, rest) if rest else (first,)
    return tuple(path.split("."))
