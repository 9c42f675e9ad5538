"""Resolves the names of methods and criteria, both built in and from the entry points of other distributions."""

import hashlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from trainables.errors import InvalidInput
from trainables.plugin_classes import load_class
from trainables.text import did_you_mean


@dataclass(frozen=True)
class Registry:
    """The plugins of a single kind. A new plugin is a file in `package`, or another distribution's entry point.

    Attributes:
        kind: what a plugin is called in messages.
        group: entry point group in which other distributions announce their plugins.
        package: package whose modules are the built-in plugins, one class per module.
        base: module of `package` that holds the interface and is therefore no plugin.
    """

    kind: str
    group: str
    package: str
    base: str = "base"

    def names(self) -> list[str]:
        """Return every name, sorted, without importing any plugin."""
        return sorted({*self._built_in(), *(point.name for point in self._entry_points())})

    def spec(self, name: str) -> str:
        """Resolve a name to "module:Class", or to "module" if its only plugin class is meant.

        A built-in plugin takes precedence over an entry point of the same name. A name with a colon is already a spec.

        Raises:
            InvalidInput: there is no such plugin, or one side of the colon is empty.
        """
        if ":" in name:
            return _checked_spec(self.kind, name)
        if name in self._built_in():
            return f"{self.package}.{name}"
        for point in self._entry_points():
            if point.name == name:
                return _spec_of(point)
        raise InvalidInput(self._unknown(name))

    def load(self, name: str, base_class: type) -> type[Any]:
        """Import a plugin and return its class.

        Args:
            name: a name, or "module:Class".
            base_class: the interface that the class must implement.

        Raises:
            InvalidInput: there is no such plugin, its import fails, or it is not a concrete `base_class`.
        """
        return load_class(f"{self.kind} {name!r}", self.spec(name), base_class)

    def problems(self, base_class: type) -> list[str]:
        """Import every entry point; return a message for each that is broken or hidden by another plugin."""
        seen = set(self._built_in())
        messages = []
        for point in self._entry_points():
            if point.name in seen:
                messages.append(f"{self.kind} {point.name!r} of {_spec_of(point)!r} is hidden by one of the same name")
                continue
            seen.add(point.name)
            try:
                self.load(point.name, base_class)
            except InvalidInput as error:
                messages.append(str(error))
        return messages

    def source(self, name: str) -> str | None:
        """Return the hash of the file that defines another distribution's plugin; None for a built-in plugin.

        Only the packages around the file are imported. The hash does not cover what the file itself imports.

        Raises:
            InvalidInput: there is no such plugin, or its module does not exist.
        """
        module = self.spec(name).partition(":")[0]
        if module.startswith(f"{self.package}."):
            return None
        try:
            module_spec = importlib.util.find_spec(module)
        except (ImportError, ValueError) as error:
            raise InvalidInput(f"{self.kind} {name!r}: module {module!r} cannot be found: {error}") from error
        if module_spec is None:
            raise InvalidInput(f"{self.kind} {name!r}: there is no module {module!r}; is its folder on PYTHONPATH?")
        if not module_spec.origin or not Path(module_spec.origin).is_file():
            return None
        return hashlib.sha256(Path(module_spec.origin).read_bytes()).hexdigest()[:20]

    def _built_in(self) -> list[str]:
        # Not the package's own __path__: importing the package may import its plugins.
        package_spec = importlib.util.find_spec(self.package)
        paths = package_spec.submodule_search_locations if package_spec else None
        modules = (module.name for module in pkgutil.iter_modules(paths or []))
        return [name for name in modules if name != self.base and not name.startswith("_")]

    def _entry_points(self) -> Sequence[EntryPoint]:
        return sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value))

    def _unknown(self, name: str) -> str:
        return f"unknown {self.kind} {name!r}; {did_you_mean(name, self.names())}; or write it as 'module:Class'"


def _checked_spec(kind: str, spec: str) -> str:
    module, _, attribute = spec.partition(":")
    if not module or not attribute:
        raise InvalidInput(f"{kind} {spec!r} is not understood; write it as 'module:Class'")
    return spec


def _spec_of(point: EntryPoint) -> str:
    return point.value.partition("[")[0].replace(" ", "")


CRITERIA = Registry("criterion", "dvar_tune.criteria", "orchestrator.criteria")
METHODS = Registry("method", "dvar_tune.methods", "trainables.methods")
