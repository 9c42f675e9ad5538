"""Reads Parquet files of unknown origin: what a file declares is checked against limits before anything is allocated.

The program writes no dictionaries and no other encodings with which a small file could stand for a large table. Its
packs take 2.7 bytes per value, and 1.7 bytes of a page are 1 byte of the file.
"""

import os
from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.config.fields import MAX_VALUES
from orchestrator.recordings.pages import Chunk, check_pages, read_chunks

#: Most values per byte of the file, beyond a first million; a constant series takes little space.
VALUES_PER_BYTE, FREE_VALUES = 32, 1_000_000
#: Most bytes of all pages per byte of the file, beyond the first bytes: the texts of similar recordings shrink most.
BYTES_PER_BYTE, FREE_BYTES = 64, 16_000_000
#: Most rows that hold texts: recordings of a pack, snapshots of a run; and texts of a row.
MAX_TEXTS, TEXTS_PER_ROW = 10_000, 5


def read_table(source: BinaryIO) -> pa.Table:
    """Read a Parquet file whose declared content is within limits, and has no nulls.

    Args:
        source: the file, open for reading.

    Raises:
        ValueError: it is no whole Parquet file, declares more than its size can hold, or holds nulls or something else
            than it declares.
    """
    try:
        chunks = read_chunks(source)
        _check_declared(chunks, source.seek(0, os.SEEK_END))
        check_pages(source, chunks)
        source.seek(0)
        table = pq.ParquetFile(source, page_checksum_verification=True).read(use_threads=False)
    except ValueError:
        raise
    except Exception as error:  # Arrow raises many kinds; each means that the file is damaged or no Parquet file
        raise ValueError(f"it is not a whole Parquet file ({error})") from error
    if nulls := [name for name in table.column_names if _nulls(table.column(name))]:
        raise ValueError(f"its column {nulls[0]!r} has empty cells")
    return table


def check_schema(schema: pa.Schema, expected: pa.Schema) -> None:
    """Compare names, types and order of columns.

    Raises:
        ValueError: they differ.
    """
    if not schema.equals(expected, check_metadata=False):
        raise ValueError(f"its columns are {_describe(schema)}; expected {_describe(expected)}")


def _check_declared(chunks: Sequence[Chunk], size: int) -> None:
    values, unpacked = sum(chunk.values for chunk in chunks), sum(chunk.unpacked for chunk in chunks)
    limit = min(MAX_VALUES, FREE_VALUES + VALUES_PER_BYTE * size)
    if values > limit:
        raise ValueError(f"it declares {values:,} values in {size:,} bytes; at most {limit:,}")
    if unpacked > FREE_BYTES + BYTES_PER_BYTE * size:
        raise ValueError(f"it declares {unpacked:,} bytes of content in {size:,} bytes")
    texts = sum(chunk.values for chunk in chunks if chunk.is_text)
    if texts > MAX_TEXTS * TEXTS_PER_ROW:
        raise ValueError(f"it declares {texts:,} texts; at most {MAX_TEXTS * TEXTS_PER_ROW:,}")


def _nulls(column: pa.ChunkedArray) -> int:
    inner = sum(chunk.values.null_count for chunk in column.chunks) if pa.types.is_list(column.type) else 0
    return int(column.null_count) + inner


def _describe(schema: pa.Schema) -> str:
    shown = [f"{column.name} ({column.type})" for column in list(schema)[:12]]
    return ", ".join(shown) + (f" and {len(schema) - 12} more" if len(schema) > 12 else "")
