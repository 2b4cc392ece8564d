"""The catalog: all components by kind and name, where each comes from, and what could not be loaded.

The loading loop is our own, because with pluggy alone one unimportable entry point aborts the
load, two distributions under one entry-point name lose one silently, and one raising hook aborts
the call.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.metadata
import importlib.util
import inspect
import itertools
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any, overload

import pluggy

from ablate import kinds
from ablate.discovery import api_version, hooks, provenance
from ablate.discovery.api_version import Outdated
from ablate.discovery.moved import moved_module
from ablate.discovery.plugin_origins import expanded
from ablate.discovery.plugin_sources import PluginSource, installed, local
from ablate.errors import Problem, SpecError, did_you_mean
from ablate.runtime.isolation import Before, message, staying
from ablate.runtime.patient import doing
from ablate.runtime.stdout import ToStderr
from ablate.spec.component import Component, K, is_kind
from ablate.spec.explain import plugin_traceback
from ablate.spec.mistakes import class_and_place, judging_fields, mistake
from ablate.spec.slots import create

_PLACE = re.compile(r'^  File "(.+)", line (\d+).*', re.MULTILINE)  # in a traceback


@dataclass(frozen=True)
class Entry:
    """One component and its provenance."""

    kind: str
    name: str
    cls: type[Component]
    distribution: str
    version: str
    file: Path

    @cached_property
    def line(self) -> int:
        """The line of the file in which its class begins; the first where the class is not written out there."""
        try:
            return inspect.findsource(self.cls)[1] + 1
        except OSError:
            return 1

    @property
    def full_name(self) -> str:
        """`distribution:name`, which is never ambiguous."""
        return f"{self.distribution}:{self.name}"

    @property
    def former_names(self) -> tuple[str, ...]:
        """The names that it had before, which go on to be read."""
        return tuple(vars(self.cls).get("formerly", ()))

    @cached_property
    def all_names(self) -> frozenset[str]:
        """The names that mean it: its own and former ones, with its distribution or without."""
        names = (self.name, *self.former_names)
        return frozenset((*names, *(f"{self.distribution}:{name}" for name in names)))

    @cached_property
    def source_hash(self) -> str:
        """SHA-256 of the source that the component's behaviour is written in; see `ablate.discovery.provenance`."""
        return provenance.source_hash(self.file, self.cls.__module__)


@dataclass(frozen=True)
class Broken:
    """A plugin, or one module of it, that could not be loaded."""

    plugin: str
    module: str
    traceback: str

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return self.traceback.strip().splitlines()[-1]

    @property
    def summary(self) -> str:
        """What is wrong and where, and the command that shows the traceback, if there is one."""
        places = list(_PLACE.finditer(self.traceback))
        if not places:
            return self.traceback.strip()
        lines = self.traceback[places[-1].end() :].strip("\n").splitlines()
        error = itertools.dropwhile(lambda line: not line or line[0].isspace(), lines)  # the code of the place
        reason = " ".join(line.strip() for line in error)
        return f"{reason} ({places[-1][1]}:{places[-1][2]}); `ablate plugins check {self.plugin}` shows the traceback"


class Catalog:
    """All components by kind and name; a Resolver for specs."""

    def __init__(self, plugins: Sequence[str | Path] = ()) -> None:
        self.plugins = expanded([str(plugin) for plugin in plugins])
        self.root: Path | None = None  # from which paths in specs go out; None: the working directory
        self.broken: list[Broken] = []
        self.outdated: list[Outdated] = []
        self._entries: dict[str, list[Entry]] = {}
        self._kinds: dict[str, tuple[type[Component], str]] = {}
        self._names: dict[type[Component], tuple[str, Entry]] = {}
        self._defaults: dict[str, tuple[int, str | None]] = {}  # {kind: (how many entries there were, the default)}
        self._manager = pluggy.PluginManager(hooks.GROUP)
        self._manager.add_hookspecs(hooks)
        for module in pkgutil.iter_modules(kinds.__path__, f"{kinds.__name__}."):
            self._find_kinds(importlib.import_module(module.name), "ablate")
        for source in (*installed(), *map(local, self.plugins)):
            waited = (
                contextlib.nullcontext()
                if source.distribution == provenance.FRAMEWORK
                else doing(f"importing {source.plugin}")
            )
            with judging_fields():
                before = Before()
                with contextlib.redirect_stdout(ToStderr()), staying(), waited:  # stdout belongs to who asked
                    self._load(source)
                changes = before.on_import()
            if changes:
                reason = message(f"plugin {source.plugin}, while it is imported,", changes, None)
                self.broken.append(Broken(source.plugin, source.plugin, f"GlobalStateError: {reason}\n"))
        provenance.framework()  # of the files as they are now, while they are imported

    def at(self, root: str | Path | None) -> Catalog:
        """Return the same catalog, whose components resolve paths from a folder."""
        copied = copy.copy(self)
        copied.root = None if root is None else Path(root)
        return copied

    def kinds(self) -> list[str]:
        """Return the names of all kinds."""
        return sorted(self._kinds)

    def kind(self, name: str) -> type[Component]:
        """Return the abstract base of a kind. Raises SpecError where there is none."""
        if name not in self._kinds:
            raise SpecError([Problem((), f"there is no kind {name!r}{did_you_mean(name, self._kinds)}")])
        return self._kinds[name][0]

    def names(self, kind: str) -> list[str]:
        """Return the names of the components of a kind; `distribution:name` where two share one."""
        entries = self.entries(kind)
        bare = [name for entry in entries for name in (entry.name, *entry.former_names)]
        return sorted(entry.name if bare.count(entry.name) == 1 else entry.full_name for entry in entries)

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Return the entries of all components, or of one kind's."""
        if kind is not None:
            self.kind(kind)
            return list(self._entries.get(kind, []))
        return [entry for name in self.kinds() for entry in self._entries.get(name, [])]

    def entry(self, kind: str, name: str) -> Entry:
        """Return the one component of that name, or formerly of it. Raises SpecError where there is none, or more."""
        matches = [e for e in self.entries(kind) if name in e.all_names]
        if len(matches) == 1:
            return matches[0]
        if matches:
            several = " or ".join(repr(e.full_name) for e in matches)
            raise SpecError([Problem((), f"two plugins bring {kind} {name!r}: say {several}")])
        meant = self.kind(kind).instead(name, self)
        message = (
            f"there is no {kind} {name!r}{did_you_mean(name, self.names(kind)) if meant is None else f'; {meant}'}"
        )
        for broken in self.broken:
            message += f"\nplugin {broken.plugin} could not be loaded and may bring it: {broken.summary}"
        raise SpecError([Problem((), message)])

    def get(self, kind: str, name: str) -> type[Component]:
        """Return the component class of that name."""
        return self.entry(kind, name).cls

    def default(self, kind: str) -> str | None:
        """Return the component that its kind's own distribution declares the default."""
        home, entries = self._kinds[kind][1], self.entries(kind)
        count, default = self._defaults.get(kind, (-1, None))
        if count != len(entries):
            names = [e.full_name for e in entries if e.distribution == home and e.cls.default]
            default = names[0] if len(names) == 1 else None
            self._defaults[kind] = len(entries), default
        return default

    @overload
    def create(self, kind: type[K], spec: Any) -> K: ...

    @overload
    def create(self, kind: str, spec: Any) -> Component: ...

    def create(self, kind: str | type[Component], spec: Any) -> Component:
        """Return the component that a spec describes: a name, or `{"type": name, ...}`. Raises SpecError."""
        return create(self.kind(kind) if isinstance(kind, str) else kind, spec, self)

    def locate(self, cls: type[Component]) -> Entry:
        """Return the entry of a component class."""
        return next(entry for entry in self.entries() if entry.cls is cls)

    def used(self, parts: Iterable[Component]) -> dict[str, Entry]:
        """Return the entries of components, by `kind/name`: the plugins that a trial depends on.

        The name is the first that the component had, so that records of before it was renamed compare with it; with its
        distribution where two bring the name.
        """
        pairs = (self._name_and_entry(cls) for cls in {type(part) for part in parts})
        return dict(sorted(pairs, key=lambda one: one[0]))

    def _name_and_entry(self, cls: type[Component]) -> tuple[str, Entry]:
        if cls not in self._names:
            entry = self.locate(cls)
            first = cls._first_name()
            bare = entry.name in self.names(entry.kind)
            self._names[cls] = (f"{entry.kind}/{first if bare else f'{entry.distribution}:{first}'}", entry)
        return self._names[cls]

    def stale(self) -> bool:
        """Return whether a local plugin's file has changed since it was imported."""
        files = [Path(plugin).resolve() for plugin in self.plugins if plugin.endswith(".py")]
        return any(file.is_file() and file.read_bytes() != provenance.content(file) for file in files)

    def _load(self, source: PluginSource) -> None:
        if any(name == source.plugin for name, _ in self._manager.list_name_plugin()):
            return  # the same local file given twice
        module = self._attempt(source, source.plugin, source.load)
        if module is None or self._manager.is_registered(module):  # an installed package named again by a study
            return
        if not self._is_of_our_api(source, module):
            return
        if self._attempt(source, module.__name__, partial(self._manager.register, module, source.plugin)) is None:
            return  # a hook that pluggy refuses
        listed = [h for h in self._manager.hook.ablate_modules.get_hookimpls() if h.plugin_name == source.plugin]
        if listed:
            hook: Callable[[], Any] = listed[0].function
            names = self._attempt(source, module.__name__, lambda: list(hook()))
        else:
            names = list(_submodules(module))
        for name in names or ():
            submodule = self._attempt(source, name, partial(importlib.import_module, name))
            if submodule is not None and (submodule is module or self._is_of_our_api(source, submodule)):
                self._find_kinds(submodule, source.distribution)
                self._attempt(source, name, partial(self._find_components, submodule, source))

    def _is_of_our_api(self, source: PluginSource, module: ModuleType) -> bool:
        """Return whether a module was written for an API that there is; note it where that is an earlier one."""
        version = api_version.stated(module)
        if (reason := api_version.why_not(version)) is not None:
            self._add_broken(source, module.__name__, f"{source.plugin} {reason}\n")
            return False
        outdated = Outdated(source.plugin, source.distribution, version or api_version.VERSION)
        if outdated.stated < api_version.VERSION and outdated not in self.outdated:
            self.outdated.append(outdated)
        return True

    def _attempt(self, source: PluginSource, module: str, action: Callable[[], Any]) -> Any:
        """Return what `action` returns; None where a plugin's own code raises, which is added to `broken`."""
        try:
            return action()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit too
            trace = plugin_traceback(error)
            if (hint := moved_module(error)) is not None:
                trace = f"{trace.rstrip()}: {hint}\n"
            self._add_broken(source, module, trace)
            return None

    def _add_broken(self, source: PluginSource, module: str, trace: str) -> None:
        """Add what could not be loaded; a local file has no module name that its user knows."""
        self.broken.append(Broken(source.plugin, source.plugin if source.is_file else module, trace))

    def _find_kinds(self, module: ModuleType, distribution: str) -> None:
        for cls in _own_classes(module):
            if is_kind(cls):
                self._kinds.setdefault(cls.kind, (cls, distribution))

    def _find_components(self, module: ModuleType, source: PluginSource) -> None:
        listed = {entry.cls for entry in self.entries()}  # a package may be found by two ways
        for cls in _own_classes(module):
            if cls in listed or (reason := mistake(cls)) == "":
                continue
            twin = None
            if reason is None:
                twin = next((e for e in self._entries.get(cls.kind, ()) if _same_name(e, cls, source)), None)
            if twin is not None:
                first = f"{twin.cls.__name__} at {twin.file}:{twin.line}"
                both = sorted({cls.name, *vars(cls).get("formerly", ())} & {twin.name, *twin.former_names})[0]
                word = "is" if both == cls.name == twin.name else "is, or was,"
                reason = f"it {word} called {cls.kind} {both!r}, and so is {first}; give one of them another name"
            if reason is not None:
                self._add_broken(source, module.__name__, f"{class_and_place(cls)}: {reason}\n")
                continue
            file = Path(inspect.getfile(cls)).resolve()
            entry = Entry(cls.kind, cls.name, cls, source.distribution, source.version, file)
            if cls.kind not in self._kinds:
                base = next(b for b in cls.__mro__ if is_kind(b))
                self._kinds[cls.kind] = (base, source.distribution)
            self._entries.setdefault(cls.kind, []).append(entry)
            if source.is_file:
                _ = entry.source_hash  # of what was imported just now: such a file may change at any time


def catalog(plugins: tuple[str, ...] = (), fresh: bool = False) -> Catalog:
    """Return the catalog of what is installed, and of local plugin files; made once for each set of files.

    fresh: import anew where a file has changed, as whoever launches a study means it; a worker keeps what it has.
    """
    if fresh and _catalog(plugins).stale():
        _catalog.cache_clear()
    return _catalog(plugins)


def catalog_of(job: Mapping[str, Any]) -> Catalog:
    """Return the catalog of a job: with its plugins, and with the folder from which its paths go out."""
    return catalog(tuple(job["plugins"])).at(job.get("root"))


@cache
def _catalog(plugins: tuple[str, ...]) -> Catalog:
    return Catalog(plugins)


def _own_classes(module: ModuleType) -> Iterator[type[Component]]:
    """Yield the Component classes that are written in this module, not imported into it."""
    for cls in dict.fromkeys(v for v in vars(module).values() if isinstance(v, type)):  # an alias is no second class
        if issubclass(cls, Component) and cls.__module__ == module.__name__:
            yield cls


def _submodules(module: ModuleType) -> Iterator[str]:
    """Yield the module and, for a package, all below it but for names that begin with an underscore."""
    yield module.__name__
    if hasattr(module, "__path__"):
        for submodule in pkgutil.walk_packages(module.__path__, f"{module.__name__}.", onerror=lambda name: None):
            if not any(part.startswith("_") for part in submodule.name.split(".")):
                yield submodule.name


def _same_name(entry: Entry, cls: type[Component], source: PluginSource) -> bool:
    names = {cls.name, *vars(cls).get("formerly", ())}
    return entry.distribution == source.distribution and bool(names & {entry.name, *entry.former_names})
