"""YAML in which 1e-4 is a number, as in YAML 1.2; PyYAML follows YAML 1.1, where it is text."""

import re

import yaml


class _Loader(yaml.SafeLoader):
    """Safe: it makes nothing but plain values."""


class _Dumper(yaml.SafeDumper):
    """Quotes text that the loader would take for a number."""


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
    """Read YAML as plain values: dictionaries, lists, text, numbers, dates, booleans and None.

    Raises:
        yaml.YAMLError: the text is not valid YAML.
    """
    return yaml.load(text, Loader=_Loader)


def dump(values: object) -> str:
    """Write plain values as YAML, keys in their order, so that `load` returns equal values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
