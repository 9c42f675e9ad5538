"""The start-up check: the generic package names must resolve to this distribution."""

from importlib import import_module

DISTRIBUTION = "dvar-tune"
PACKAGES = ("orchestrator", "trainables", "search_spaces")


class ForeignPackageError(ImportError):
    """A package of ours is shadowed by another distribution's of the same name."""


def check_packages() -> None:
    """Raise ForeignPackageError when one of our package names resolves to somebody else's package."""
    for name in PACKAGES:
        package = import_module(name)
        if getattr(package, "__distribution__", None) != DISTRIBUTION:
            place = getattr(package, "__file__", None) or next(iter(package.__path__))
            raise ForeignPackageError(
                f"the package {name!r} at {place} is not {DISTRIBUTION}'s; "
                "install dvar-tune in an environment of its own and run it from another folder"
            )
