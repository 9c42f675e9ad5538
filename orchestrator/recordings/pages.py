"""What a Parquet file of unknown origin holds, by its footer and by the headers of its pages, without unpacking any.

Footer and headers are Thrift structures in the compact protocol. They are read here because pyarrow cannot show the
headers, follows them whatever the footer declares, and ends the process at some damaged footers.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

#: Most bytes of a footer and of a page's header; those of a run with 10,000 fixed inputs have 3,000,000 and 100.
MAX_FOOTER, MAX_HEADER = 8_000_000, 200_000
#: The only encodings and kinds of pages with which the program writes: none makes a large table of a small file.
_ENCODINGS = frozenset({0, 3, 4, 9})  # PLAIN, RLE (of levels), BIT_PACKED (of levels), BYTE_STREAM_SPLIT
_DATA_PAGE, _DATA_PAGE_V2 = 0, 3
_BYTE_ARRAY = 6
_MAX_DEPTH = 12
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class Chunk:
    """A column of a group of rows, as the footer declares it.

    Attributes:
        values: numbers or texts.
        unpacked: bytes of all pages before compression.
        packed: bytes in the file.
        start: where its first page begins.
        is_text: whether the values are texts.
    """

    values: int
    unpacked: int
    packed: int
    start: int
    is_text: bool


def read_chunks(file: BinaryIO) -> list[Chunk]:
    """Return what the footer of a Parquet file declares.

    Args:
        file: open for reading.

    Raises:
        ValueError: the footer is damaged, too large, or of a kind that the program does not write.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > min(size - 8, MAX_FOOTER):
        raise ValueError("it is not a whole Parquet file")
    file.seek(size - 8 - length)
    try:
        footer = _Reader(file.read(length)).struct()
        return [_chunk(column) for group in footer[4] for column in group[1]]
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError("its footer is damaged") from error


def _chunk(column: dict[int, Any]) -> Chunk:
    declared = column[3]
    if 1 in column or 11 in declared or not _ENCODINGS.issuperset(declared[2]):  # in another file; with a dictionary
        raise ValueError("a column is encoded otherwise than the program writes")
    chunk = Chunk(declared[5], declared[6], declared[7], declared[9], declared[1] == _BYTE_ARRAY)
    if min(chunk.values, chunk.unpacked, chunk.packed, chunk.start) < 0:
        raise ValueError("its footer declares negative sizes")
    return chunk


def check_pages(file: BinaryIO, chunk: Chunk) -> None:
    """Check that the pages of a column hold what the footer declares.

    Args:
        file: open for reading.
        chunk: of the footer.

    Raises:
        ValueError: a page's header is damaged, or the pages hold other numbers of bytes or values.
    """
    position, end = chunk.start, chunk.start + chunk.packed
    unpacked = values = 0
    while position < end:
        file.seek(position)
        reader = _Reader(file.read(MAX_HEADER))
        try:
            header = reader.struct()
            page_unpacked, page_packed = header[2], header[3]
            about = {_DATA_PAGE: 5, _DATA_PAGE_V2: 8}[header[1]]
            values += header[about][1]
            is_usual = page_unpacked >= 0 and page_packed >= 0
        except (IndexError, KeyError, TypeError) as error:
            raise ValueError("the header of a page is damaged") from error
        if not is_usual:
            raise ValueError("the header of a page declares negative sizes")
        unpacked += reader.position + page_unpacked
        position += reader.position + page_packed
    if position != end or unpacked > chunk.unpacked or values != chunk.values:
        raise ValueError("its pages hold something else than it declares")


@dataclass
class _Reader:
    """Reads a Thrift structure; what ends too early or is nested too deeply raises IndexError."""

    data: bytes
    position: int = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields by their numbers."""
        if depth > _MAX_DEPTH:
            raise IndexError("nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._number()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (9, 10):
            return list(self._items(depth + 1))
        if kind == 12:
            return self.struct(depth + 1)
        simple: dict[int, Callable[[], Any]] = {
            1: self._byte, 2: self._byte, 3: self._byte, 4: self._number, 5: self._number, 6: self._number,
            7: lambda: self._bytes(8), 8: lambda: self._bytes(self._varint()),
        }  # fmt: skip
        if kind not in simple:
            raise IndexError(f"no file has a field of the kind {kind}")
        return simple[kind]()

    def _items(self, depth: int) -> Iterator[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        for _ in range(count):
            yield self._value(head & 15, depth)

    def _bytes(self, count: int) -> bytes:
        self.position += count
        if self.position > len(self.data):
            raise IndexError("ends too early")
        return self.data[self.position - count : self.position]

    def _byte(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise IndexError("a number is too long")

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
