"""YAML as plain values, safe to read from anyone: bounded in size and depth, and no key given twice.

1e-4 is a number, as in YAML 1.2; PyYAML follows YAML 1.1, where it is text.
"""

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from trainables.errors import InvalidInput
from trainables.text import is_printable, printable

#: Most characters of a document, before and after its aliases are expanded: the longest file that the program writes
#: has 4,000, and PyYAML reads some 100,000 a second.
MAX_CHARACTERS = 100_000
#: Most levels of nesting; the program's own files have four.
MAX_DEPTH = 30
# What PyYAML lets pass of Python's own conversions: of the date 2026-99-99, or of `!!int ""`.
_CONVERSIONS = (ValueError, LookupError, ArithmeticError, AttributeError, TypeError, RecursionError)
#: Most characters of a number.
MAX_NUMBER = 100


@dataclass(frozen=True)
class _Extent:
    """What a node holds once its aliases are expanded: characters and values, and levels of nesting."""

    size: int
    height: int


class _Loader(yaml.SafeLoader):
    """Safe: it makes nothing but plain values, of bounded size."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._size = 0
        self._height = 0
        self._extents: dict[int, _Extent] = {}

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Compose a node, unless it is too large or too deep; PyYAML itself sets no limit."""
        is_alias = self.check_event(yaml.AliasEvent)
        size_before, height_before = self._size, self._height
        self._height = 0
        self._depth += 1
        self._check_depth(0)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias:
            extent = self._extents.get(id(node))
            if extent is None:
                raise self._error("an alias stands for a value that contains it")
            self._check_depth(extent.height)
            self._size += extent.size
        else:
            self._size += 1 + (len(node.value) if isinstance(node, ScalarNode) else 0)
            extent = _Extent(self._size - size_before, self._height + 1)
            self._extents[id(node)] = extent
        if self._size > 2 * MAX_CHARACTERS:  # an empty value has no character, but counts
            raise self._error(f"it is too large once its aliases are expanded; at most {MAX_CHARACTERS:,} characters")
        self._height = max(height_before, extent.height)
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        """Compose a mapping whose keys differ; PyYAML would silently take the last of equal keys."""
        node: MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, ScalarNode) else None
            if name in seen:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"the key {printable(key.value, 80)!r} is given twice, again in line {line}")
            if name is not None:
                seen.add(name)
        return node

    def construct_yaml_int(self, node: ScalarNode) -> int:
        """Make a whole number of a bounded length; Python would refuse to print longer ones."""
        if len(node.value) > MAX_NUMBER:
            raise yaml.YAMLError(f"a number has {len(node.value)} digits; at most {MAX_NUMBER}")
        number: int = super().construct_yaml_int(node)
        return number

    def _check_depth(self, further: int) -> None:
        if self._depth + further > MAX_DEPTH:
            raise self._error(f"it is nested too deeply; at most {MAX_DEPTH} levels")

    def _error(self, what: str) -> yaml.YAMLError:
        return yaml.YAMLError(f"{what} (line {self.line + 1})")


class _Dumper(yaml.SafeDumper):
    """Quotes text that the loader would take for a number."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal lists out each time: an alias helps nobody who edits the file."""
        return True


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
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def load(text: str) -> object:
    """Read YAML as plain values: dictionaries, lists, text, numbers, dates, booleans and None.

    Raises:
        InvalidInput: the text is not valid YAML, is too large or nested too deeply, or gives a key twice; the message
            says where, in one line.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"it has {len(text):,} characters; at most {MAX_CHARACTERS:,}")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise InvalidInput(_explain(error)) from error
    except (yaml.YAMLError, *_CONVERSIONS) as error:
        raise InvalidInput(printable(" ".join(str(error).split()), 300) or type(error).__name__) from error


def _explain(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return printable(f"{error.problem or error.context}", 300) + place


def read(path: Path, *, is_stream: bool = False) -> object:
    """Read a YAML file; see `read_text` and `load` for arguments and errors."""
    return load(read_text(path, is_stream=is_stream))


def read_text(path: Path, *, is_stream: bool = False) -> str:
    """Return the text of a YAML file, if its size is within limits.

    Args:
        path: of the file.
        is_stream: whether it may be a pipe, such as `<(dvar show)`; another program's file must not make us wait.

    Raises:
        FileNotFoundError: there is no such file.
        InvalidInput: it is no file, cannot be read, is too large or no UTF-8; the message says why, but names no file.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not (is_stream and (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode))):
            raise InvalidInput(f"it is {'a folder' if stat.S_ISDIR(mode) else 'no plain file'}")
        with path.open("rb") as file:
            data = file.read(4 * MAX_CHARACTERS + 1)
        if len(data) > 4 * MAX_CHARACTERS:
            raise InvalidInput(f"it is too large; at most {MAX_CHARACTERS:,} characters")
        return data.decode("utf-8")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise InvalidInput(f"it is no UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise InvalidInput(error.strerror or type(error).__name__) from error


def dump(values: object) -> str:
    """Write plain values as YAML, keys in their order, so that `load` returns equal values."""

    def written(is_unicode: bool) -> str:
        return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=is_unicode)

    text = written(True)
    return text if all(map(is_printable, text.split("\n"))) else written(False)
