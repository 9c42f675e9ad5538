"""SearchSpaceModule: the interface of a module that holds a criterion's ranges."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeAlias, runtime_checkable

from optuna.distributions import BaseDistribution

from search_spaces.defaults import MethodDefaults

Ranges: TypeAlias = dict[str, BaseDistribution]
#: What a file, a flag or a criterion's constructor may hold for a parameter.
Value: TypeAlias = bool | int | float | str | None
#: A criterion's parameters that are not searched.
Fixed: TypeAlias = Mapping[str, Value]
NOTHING_FIXED: Fixed = MappingProxyType({})


@runtime_checkable
class SearchSpaceModule(Protocol):
    """A module with these two functions makes a criterion searchable.

    Built-in ones are `search_spaces/NAME.py`. Another distribution announces its module by an entry point of the group
    "dvar_tune.search_spaces"; the module of a criterion that is given as "module:Class" holds the functions itself.
    """

    def space(self, budget: int, fixed: Fixed = NOTHING_FIXED, /) -> Mapping[str, BaseDistribution]:
        """Return the ranges of the criterion's parameters, each a Float- or IntDistribution.

        Args:
            budget: optimizer steps of a full-length run.
            fixed: parameters that stay as they are, on which ranges may depend. It is passed only where something is
                fixed, so a module whose ranges depend on the budget alone may leave it out, unless users of the
                criterion want to fix something.

        Raises:
            ValueError: nothing can be searched in this budget.
        """

    def default_params(self, method: str, budget: int, defaults: MethodDefaults | None, /) -> Mapping[str, float | int]:
        """Return the setting that is tried first.

        Args:
            method: personalization method.
            budget: optimizer steps of a full-length run.
            defaults: DVAR's setting as the method states it; None where it states none.

        Raises:
            ValueError: nothing can be searched in this budget.
        """


@runtime_checkable
class FamilyModule(Protocol):
    """A search space module with this function, too, has a family of settings from which a promise can be made.

    The choice among the members of an ordered family of a single parameter can be relied on for new concepts (conformal
    risk control); a choice of several parameters at once cannot.
    """

    def family(self, budget: int, fixed: Fixed = NOTHING_FIXED, /) -> Sequence[Mapping[str, float | int]]:
        """Return settings that differ in a single parameter, from the latest stop to the earliest.

        What a member does not name is fixed, or has its default; windows are a fixed share of the budget.

        Args:
            budget: optimizer steps of a full-length run, at least 4.
            fixed: parameters that stay as they are; the one that differs is never among them.

        Returns:
            At least one member, at most some hundreds.

        Raises:
            ValueError: the parameter that differs is fixed, or there is no family in this budget.
        """
