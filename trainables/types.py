"""Names of the types of plain data, which several packages share."""

from collections.abc import Mapping
from typing import Any

#: Plain JSON, or what YAML and settings hold: texts, numbers, lists and further mappings.
JsonObject = Mapping[str, Any]
JsonDict = dict[str, Any]
