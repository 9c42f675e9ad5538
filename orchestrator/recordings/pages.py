"""What a Parquet file of unknown origin holds, by its footer and by the headers of its pages, without unpacking any.

Footer and headers are Thrift structures in the compact protocol. They are read here because pyarrow cannot show the
headers, follows them whatever the footer declares, and ends the process at some damaged footers.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

#: Most bytes of a footer and of a page's header; those of a run with 10,000 fixed inputs have 3,000,000 and 100.
MAX_FOOTER, MAX_HEADER = 8_000_000, 200_000
#: Most values in a footer, of which each takes some microseconds and up to 70 bytes here, and pages of all columns: a
#: run with 10,000 fixed inputs has 500,000 and 10,000.
MAX_FOOTER_VALUES, MAX_PAGES = 1_500_000, 50_000
#: The only encodings and kinds of pages with which the program writes: none makes a large table of a small file.
_PLAIN, _BYTE_STREAM_SPLIT = 0, 9
_ENCODINGS = frozenset({_PLAIN, 3, 4, _BYTE_STREAM_SPLIT})  # 3 and 4, RLE and BIT_PACKED, are of levels
#: Kinds of pages, and where their headers say how many values a page has, and in which encoding.
_DATA_PAGES = {0: (5, 1, 2), 3: (8, 1, 4)}
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


def check_pages(file: BinaryIO, chunks: Iterable[Chunk]) -> None:
    """Check that the pages of every column hold what the footer declares.

    Args:
        file: open for reading.
        chunks: of the footer.

    Raises:
        ValueError: a page's header is damaged, the pages hold other numbers of bytes or values, they are encoded
            otherwise than the program writes, or they are too many.
    """
    pages = 0
    for chunk in chunks:
        pages += _check_chunk(file, chunk, MAX_PAGES - pages)


def _check_chunk(file: BinaryIO, chunk: Chunk, most_pages: int) -> int:
    """Check the pages of a column and return their number."""
    position, end = chunk.start, chunk.start + chunk.packed
    pages = unpacked = values = 0
    while position < end:
        pages += 1
        if pages > most_pages:
            raise ValueError(f"it has more than {MAX_PAGES:,} pages")
        file.seek(position)
        reader = _Reader(file.read(MAX_HEADER))
        try:
            header = reader.struct()
            page_unpacked, page_packed = header[2], header[3]
            about, count, encoding = _DATA_PAGES[header[1]]
            page_values = header[about][count]
            is_usual = header[about][encoding] in (_PLAIN, _BYTE_STREAM_SPLIT)
            is_negative = min(page_unpacked, page_packed, page_values) < 0
        except (IndexError, KeyError, TypeError) as error:
            raise ValueError("the header of a page is damaged") from error
        if is_negative:
            raise ValueError("the header of a page declares negative sizes")
        if not is_usual:  # whatever the footer says of the column
            raise ValueError("a page is encoded otherwise than the program writes")
        values += page_values
        unpacked += reader.position + page_unpacked
        position += reader.position + page_packed
    if position != end or unpacked > chunk.unpacked or values != chunk.values:
        raise ValueError("its pages hold something else than it declares")
    return pages


@dataclass
class _Reader:
    """Reads a Thrift structure; what ends too early, is nested too deeply or holds too much raises IndexError.

    So does a field that is given twice, or whose number Thrift would cut to 16 bits: Arrow skips a field of another
    type than it expects, and might take the one for valid where we took the other.
    """

    data: bytes
    position: int = 0
    values: int = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields by their numbers."""
        if depth > _MAX_DEPTH:
            raise IndexError("nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._number()
            if number in fields or not 0 <= number < 2**15:
                raise IndexError(f"the field {number} is given twice, or is none")
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        self.values += 1
        if self.values > MAX_FOOTER_VALUES:
            raise IndexError("holds too much")
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
