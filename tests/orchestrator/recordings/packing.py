"""Makes packs that no version of the program writes, with a hash that fits."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.recordings import pack


def rows_of(recordings, compact=True):
    return [pack._row(recording, compact) for recording in recordings]


def write(path, rows, *, compact=True, schema=None, about=None, **options):
    """Write rows as a pack, whatever they hold."""
    table = pa.Table.from_pylist(rows, schema=schema or pack._schema(compact))
    has_nulls = any(
        value is None or (isinstance(value, list) and None in value) for row in rows for value in row.values()
    )
    stated = {"format": pack.FORMAT, "compact": compact, "sha256": "" if has_nulls else pack._digest(table)} | (
        about or {}
    )
    table = table.replace_schema_metadata({"pack": json.dumps(stated)})
    usual = {"compression": "zstd", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(table, path, **(usual | options))
    return path


def changed(row, column, **changes):
    """Return a row with other values in the JSON of a column."""
    return row | {column: json.dumps(json.loads(row[column]) | changes)}


def of_identity(row, **changes):
    """Return a row of another run, with the key that follows from it."""
    from orchestrator.recordings.identity import json_hash

    fields = json.loads(row["identity"]) | changes
    try:
        key = json_hash(fields)
    except ValueError:
        key = row["key"]
    return row | {"identity": json.dumps(fields), "key": key}
