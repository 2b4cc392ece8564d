"""Overrides (`--set PATH=VALUE`) and profiles: values that replace those of the study file."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.errors import Argument, InputError, did_you_mean
from ablate.errors import Path as Keys
from ablate.study.schema import Study
from ablate.study.yaml import Document, value


def applied(document: Document, profile: str | None, overrides: Sequence[str]) -> Document:
    """The document with a profile, then with each override in order. Raises InputError for a bad one."""
    if profile is not None:
        document = _with_profile(document, profile)
    for said in overrides:
        path, separator, text = said.partition("=")
        origin = Argument("overrides", said if len(said) <= 200 else f"{said[:197]}...")
        if not separator or not path.strip():
            raise InputError("expected PATH=VALUE, such as budget.images=20000", origin)
        document = document.with_value(_keys(path.strip(), origin), value(text, origin), origin)
    return document


def _with_profile(document: Document, profile: str) -> Document:
    profiles = document.data.get("profiles")
    known = profiles if isinstance(profiles, dict) else {}
    values = known.get(profile)
    if profile not in known:
        hint = did_you_mean(profile, known) or "; the study has none"
        raise InputError(f"there is no profile {profile!r}{hint}", Argument("profile", profile))
    if not isinstance(values, dict):
        raise InputError(f"expected a mapping of dotted paths, not {values!r}", document.where(("profiles", profile)))
    for path, wanted in values.items():
        origin = document.where(("profiles", profile, path)) or f"profile {profile}"
        document = document.with_value(_keys(path, origin), wanted, origin)
    return document


def _keys(path: str, origin: str | None) -> Keys:
    """The keys of a dotted path; a path below `vary` is itself dotted."""
    first, _, rest = path.partition(".")
    if first == "profiles" or first not in Study.model_fields:
        known = [key for key in Study.model_fields if key != "profiles"]
        raise InputError(f"a study has no key {first!r} to set{did_you_mean(first, known)}", origin)
    if first == "vary":
        return (first, rest) if rest else (first,)
    return tuple(path.split("."))
