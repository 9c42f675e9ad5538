"""What a personalization method states about itself, checked."""

from typing import Any

from search_spaces.defaults import MethodDefaults
from trainables.errors import InvalidInput


def method_defaults(name: str, method: Any) -> MethodDefaults:
    """Return DVAR's setting as a personalization method states it.

    Args:
        name: of the method, for the error.
        method: a method or its class, with the attributes `budget`, `window` and `threshold`.

    Raises:
        InvalidInput: an attribute is missing or out of range.
    """
    try:
        return MethodDefaults(method.budget, method.window, method.threshold)
    except (AttributeError, ValueError) as error:
        raise InvalidInput(
            f"method {name!r}: {error}; its class attributes budget, window and threshold are DVAR's setting for it"
        ) from error
