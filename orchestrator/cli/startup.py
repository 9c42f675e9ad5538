"""The start-up check: our generic package names must resolve to this distribution."""

from importlib import import_module

from orchestrator import __distribution__

PACKAGES = ("orchestrator", "trainables", "search_spaces")


class ForeignPackageError(ImportError):
    """Another distribution's package of the same name shadows one of ours."""


def check_packages() -> None:
    """Check that each of our package names resolves to this distribution.

    Raises:
        ForeignPackageError: a name resolves to another distribution's package.
    """
    for name in PACKAGES:
        package = import_module(name)
        if getattr(package, "__distribution__", None) != __distribution__:
            place = getattr(package, "__file__", None) or next(iter(package.__path__))
            raise ForeignPackageError(
                f"the package {name!r} at {place} is not {__distribution__}'s; "
                "install dvar-tune in an environment of its own and run it from another folder"
            )
