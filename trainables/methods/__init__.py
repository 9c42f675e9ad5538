"""The personalization methods, one file each; see `trainables.methods.base.Method`."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainables.errors import InvalidInput

if TYPE_CHECKING:
    from trainables.methods.base import Method


@dataclass(frozen=True)
class MethodSpec:
    """A method and its settings, by name: small, picklable, and free of torch until it is called.

    Attributes:
        spec: "module:Class", or "module" for the one method that a module defines.
        settings: arguments of the method's constructor that differ from its defaults, and from the recipe.
        recipe: one of the method's named recipes; None takes its defaults.
    """

    spec: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None

    def __call__(self) -> "Method":
        """Make the method.

        Raises:
            InvalidInput: the spec names no method, or a setting or the recipe is unknown.
        """
        method = self._load()
        if self.recipe is not None and self.recipe not in method.recipes:
            recipes = ", ".join(method.recipes) or "none"
            raise InvalidInput(f"{method.__name__} has no recipe {self.recipe!r}; available: {recipes}")
        recipe = method.recipes[self.recipe] if self.recipe else {}
        known = inspect.signature(method).parameters
        for name in self.settings:
            if name not in known:
                raise InvalidInput(f"{method.__name__} has no setting {name!r}; available: {', '.join(known)}")
        return method(**{**recipe, **self.settings})

    def _load(self) -> "type[Method]":
        from trainables.methods.base import Method

        module_name, _, class_name = self.spec.partition(":")
        module = importlib.import_module(module_name)
        if class_name:
            found = [getattr(module, class_name, None)]
        else:
            found = [value for value in vars(module).values() if getattr(value, "__module__", "") == module_name]
        methods = [value for value in found if inspect.isclass(value) and issubclass(value, Method)]
        if len(methods) != 1:
            raise InvalidInput(f"{self.spec!r} names no personalization method; write it as 'module:Class'")
        return methods[0]
