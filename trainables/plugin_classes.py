"""Finds the class that a "module:Class" names, for plugins of every kind."""

import importlib
import inspect
import operator
from typing import Any

from trainables.errors import InvalidInput


def load_class(label: str, spec: str, base_class: type) -> type[Any]:
    """Import a module and return its plugin.

    Args:
        label: what the plugin is called in messages.
        spec: "module:Class", or "module" for the only plugin that a module defines.
        base_class: the interface that the class must implement.

    Raises:
        InvalidInput: the import fails, or what is named is no concrete `base_class`.
    """
    module_name, _, attribute = spec.partition(":")
    try:
        module = importlib.import_module(module_name)
        if attribute:
            candidates = [operator.attrgetter(attribute)(module)]
        else:
            candidates = [value for value in vars(module).values() if getattr(value, "__module__", None) == module_name]
    except (Exception, SystemExit) as error:  # a plugin may raise anything, and some end the process
        reason = f"{type(error).__name__}: {error}"
        raise InvalidInput(f"{label} cannot be loaded from {spec!r}: {reason}") from error
    plugins: list[type[Any]] = [value for value in candidates if _is_plugin(value, base_class)]
    if len(plugins) != 1:
        needed = f"exactly one concrete subclass of {base_class.__module__}.{base_class.__qualname__}"
        raise InvalidInput(f"{label}: {spec!r} must name {needed}, but names {len(plugins)}")
    return plugins[0]


def _is_plugin(value: object, base_class: type) -> bool:
    return inspect.isclass(value) and issubclass(value, base_class) and not inspect.isabstract(value)
