"""YAML as people write numbers: 1e-4 is one, as in YAML 1.2; PyYAML follows 1.1, where it is text."""

import re

import yaml


class _Loader(yaml.SafeLoader):
    """Safe: it makes plain values alone."""


class _Dumper(yaml.SafeDumper):
    """Puts into quotes what the loader would take for a number."""


FLOAT = (
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF|nan|NaN))$"
    ),
    list("-+0123456789."),
)
for _kind in (_Loader, _Dumper):
    _kind.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != FLOAT[0]]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _kind.add_implicit_resolver(*FLOAT)


def load(text: str) -> object:
    """Read YAML.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.load(text, Loader=_Loader)


def dump(values: object) -> str:
    """Write YAML that `load` reads as it was."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
