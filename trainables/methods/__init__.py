"""The personalization methods, one file each.

`base.Method` is the interface; `textual_inversion` is the simplest example of it. Modules whose names begin with an
underscore are what several methods share: `_weights` (weights trained beside frozen ones), `_words` (the placeholder's
embedding) and `_prior` (images of the class).

Exported here is `MethodSpec`, which names a method with its settings and imports torch only when it makes the method.
"""

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainables.errors import InvalidInput
from trainables.plugin_classes import load_class
from trainables.text import did_you_mean
from trainables.types import JsonObject

if TYPE_CHECKING:
    from trainables.methods.base import Method

__all__ = ["MethodSpec"]


@dataclass(frozen=True)
class MethodSpec:
    """A method and its settings, by name: small, picklable, and free of torch until it is called.

    Attributes:
        spec: "module:Class", or "module" for the only method that a module defines.
        settings: arguments of the method's constructor that differ from its defaults, and from the recipe.
        recipe: name of a recipe of the method; None takes the method's defaults.
    """

    spec: str
    settings: JsonObject = field(default_factory=dict)
    recipe: str | None = None

    def __call__(self) -> "Method":
        """Import the method and make it: the recipe's settings under those given here.

        Raises:
            InvalidInput: the spec names no method, the recipe or a setting is unknown, or a value is unusable.
        """
        from trainables.methods.base import Method  # it brings torch

        method = load_class(f"method {self.spec!r}", self.spec, Method)
        if self.recipe is not None and self.recipe not in method.recipes:
            raise InvalidInput(
                f"{method.__name__} has no recipe {self.recipe!r}; {did_you_mean(self.recipe, method.recipes)}"
            )
        recipe = method.recipes[self.recipe] if self.recipe else {}
        available = inspect.signature(method).parameters
        for name in self.settings:
            if name not in available:
                raise InvalidInput(f"{method.__name__} has no setting {name!r}; {did_you_mean(name, available)}")
        instance: Method = method(**{**recipe, **self.settings})
        return instance
