"""The personalization methods, one file each.

`base.Method` is the interface; `textual_inversion` is the shortest example of it. Modules whose names begin with an
underscore are what several methods share: `_weights` (weights trained beside frozen ones), `_words` (the placeholder's
embedding) and `_prior` (images of the class).

Exported here is `MethodSpec`, which names a method with its settings and imports torch only when it makes one.
"""

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainables.errors import InvalidInput
from trainables.plugin_classes import load_class
from trainables.types import JsonObject

if TYPE_CHECKING:
    from trainables.methods.base import Method

__all__ = ["MethodSpec"]


@dataclass(frozen=True)
class MethodSpec:
    """A method and its settings, by name: small, picklable, and free of torch until it is called.

    Attributes:
        spec: "module:Class", or "module" for the one method that a module defines.
        settings: arguments of the method's constructor that differ from its defaults, and from the recipe.
        recipe: one of the method's named recipes; None takes its defaults.
    """

    spec: str
    settings: JsonObject = field(default_factory=dict)
    recipe: str | None = None

    def __call__(self) -> "Method":
        """Make the method.

        Raises:
            InvalidInput: the spec names no method, or a setting or the recipe is unknown or of no use.
        """
        from trainables.methods.base import Method  # it brings torch

        method = load_class(f"method {self.spec!r}", self.spec, Method)
        if self.recipe is not None and self.recipe not in method.recipes:
            recipes = ", ".join(method.recipes) or "none"
            raise InvalidInput(f"{method.__name__} has no recipe {self.recipe!r}; available: {recipes}")
        recipe = method.recipes[self.recipe] if self.recipe else {}
        known = inspect.signature(method).parameters
        for name in self.settings:
            if name not in known:
                raise InvalidInput(f"{method.__name__} has no setting {name!r}; available: {', '.join(known)}")
        instance: Method = method(**{**recipe, **self.settings})
        return instance
