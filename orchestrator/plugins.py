"""Finds methods and criteria, built in and from the entry points of other distributions, by name."""

import importlib
import importlib.util
import inspect
import operator
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from trainables.errors import InvalidInput


@dataclass(frozen=True)
class Registry:
    """The plugins of one kind. A new one is a file in `package`, or an entry point of `group` elsewhere.

    Attributes:
        kind: what a plugin is called in messages.
        group: entry point group in which other distributions announce theirs.
        package: package whose modules are the built-in plugins, one class a module.
        base: module of `package` that holds the interface, and so no plugin.
    """

    kind: str
    group: str
    package: str
    base: str = "base"

    def names(self) -> list[str]:
        """Return every name, sorted, without importing any plugin."""
        return sorted({*self._built_in(), *(point.name for point in self._entry_points())})

    def spec(self, name: str) -> str:
        """Resolve a name to "module:Class", or to "module" where its only plugin class is meant.

        A built-in plugin wins over an entry point of the same name; what has a colon is a spec already.

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
            InvalidInput: there is no such plugin, its import fails, or it is no concrete `base_class`.
        """
        spec = self.spec(name)
        try:
            found = _classes(spec, base_class)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise InvalidInput(f"{self.kind} {name!r} cannot be loaded from {spec!r}: {reason}") from error
        if len(found) != 1:
            needed = f"exactly one concrete subclass of {base_class.__module__}.{base_class.__qualname__}"
            raise InvalidInput(f"{self.kind} {name!r}: {spec!r} must name {needed}, found {len(found)}")
        return found[0]

    def problems(self, base_class: type) -> list[str]:
        """Import every entry point, and return a message for each that is broken or hidden by another plugin."""
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

    def _built_in(self) -> list[str]:
        # Not the package's own __path__: importing the package may import its plugins.
        found = importlib.util.find_spec(self.package)
        paths = found.submodule_search_locations if found else None
        modules = (module.name for module in pkgutil.iter_modules(paths or []))
        return [name for name in modules if name != self.base and not name.startswith("_")]

    def _entry_points(self) -> Sequence[EntryPoint]:
        return sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value))

    def _unknown(self, name: str) -> str:
        names = self.names()
        near = get_close_matches(name, names, n=1)
        hint = f". Did you mean {near[0]!r}?" if near else "; or write it as 'module:Class'"
        return f"unknown {self.kind} {name!r}; available: {', '.join(names)}{hint}"


def _checked_spec(kind: str, spec: str) -> str:
    module, _, attribute = spec.partition(":")
    if not module or not attribute:
        raise InvalidInput(f"{kind} {spec!r} is not understood; write it as 'module:Class'")
    return spec


def _spec_of(point: EntryPoint) -> str:
    return point.value.partition("[")[0].replace(" ", "")


def _classes(spec: str, base_class: type) -> list[type[Any]]:
    """Import what `spec` names, and return those of its classes that are plugins."""
    module_name, _, attribute = spec.partition(":")
    module = importlib.import_module(module_name)
    if attribute:
        found = [operator.attrgetter(attribute)(module)]
    else:
        found = [value for value in vars(module).values() if getattr(value, "__module__", None) == module_name]
    return [value for value in found if _is_plugin(value, base_class)]


def _is_plugin(value: object, base_class: type) -> bool:
    return inspect.isclass(value) and issubclass(value, base_class) and not inspect.isabstract(value)


CRITERIA = Registry("criterion", "dvar_tune.criteria", "orchestrator.criteria")
METHODS = Registry("method", "dvar_tune.methods", "trainables.methods")
