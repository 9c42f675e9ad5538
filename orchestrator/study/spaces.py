"""Finds the search space of a criterion: a module with its `space` and its `default_params`."""

import importlib
import importlib.util
from importlib.metadata import entry_points
from typing import Any

from orchestrator import criteria, plugins
from trainables.errors import InvalidInput

#: Entry point group in which other distributions announce the module with a criterion's `space` and `default_params`.
GROUP = "dvar_tune.search_spaces"


class NoSpace(InvalidInput):
    """A criterion has no search space: its settings can be given, not searched."""


def space_of(name: str) -> Any:
    """Return the module of a criterion's ranges: one of ours, what another distribution announces, or its own.

    Args:
        name: of a criterion, or "module:Class", whose module holds the two functions itself.

    Raises:
        NoSpace: the criterion has no ranges.
        InvalidInput: there is no such criterion, or the module cannot be imported, or lacks a function.
    """
    plugins.CRITERIA.spec(name)
    if ":" in name:
        return _checked(name, name.partition(":")[0])
    if importlib.util.find_spec(f"search_spaces.{name}" if name.isidentifier() else "search_spaces.-"):
        return importlib.import_module(f"search_spaces.{name}")
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _checked(name, point.module)
    raise NoSpace(
        f"criterion {name!r} has no search space; add search_spaces/{name}.py, or an entry point of {GROUP!r}"
    )


def _checked(name: str, module: str) -> Any:
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever a file of others raises
        raise InvalidInput(f"the search space of {name!r}, {module!r}, cannot be imported: {error}") from error
    if not (hasattr(found, "space") and hasattr(found, "default_params")):
        raise NoSpace(
            f"criterion {name!r} has no search space; {module!r} needs the functions space and default_params"
        )
    return found


def searchable() -> tuple[list[str], list[str]]:
    """Return the criteria that have a search space, and a message for each whose space is broken."""
    names, problems = [], []
    for name in criteria.names():
        try:
            space_of(name)
        except NoSpace:
            continue
        except InvalidInput as error:
            problems.append(str(error))
        else:
            names.append(name)
    return names, problems
