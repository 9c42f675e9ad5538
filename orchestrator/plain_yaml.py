"""YAML as people write numbers: 1e-4 is one, as in YAML 1.2; PyYAML follows 1.1, where it is text."""

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Safe: it makes plain values alone."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF|nan|NaN))$"
    ),
    list("-+0123456789."),
)


def load(text: str) -> Any:
    """Read YAML.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.load(text, Loader=_Loader)
