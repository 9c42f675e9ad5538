"""JSON files with a hash of themselves: a flipped bit in them is noticed when they are read."""

import hashlib
import json

from trainables.types import JsonDict, JsonObject

_SEAL = "seal"


def encode_json(fields: JsonObject) -> bytes:
    """Encode plain JSON.

    Raises:
        ValueError: a number is not finite, for which JSON has no form.
    """
    return json.dumps(fields, indent=2, sort_keys=True, allow_nan=False).encode()


def encode_sealed(fields: JsonObject) -> bytes:
    """Encode plain JSON, with a hash of it as a further field.

    Raises:
        ValueError: as for `encode_json`.
    """
    return encode_json({**fields, _SEAL: _seal(fields)})


def unsealed(fields: JsonObject) -> JsonDict:
    """Return the fields without the hash of themselves, which files of older versions lack.

    Raises:
        ValueError: they are not what was hashed.
    """
    content = {name: value for name, value in fields.items() if name != _SEAL}
    if _SEAL in fields and fields[_SEAL] != _seal(content):
        raise ValueError("its content does not match the hash that it states")
    return content


def _seal(fields: JsonObject) -> str:
    return hashlib.sha256(encode_json(fields)).hexdigest()
