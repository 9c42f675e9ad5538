"""Packs from anyone: whatever a file states and holds, it is read whole, or refused in a line, in little memory."""

import io
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.config.fields import MAX_VALUES
from orchestrator.recordings import pack, pages
from orchestrator.recordings.pack import read_pack
from tests.orchestrator.recordings.packing import changed, of_identity, rows_of, write
from trainables.errors import InvalidInput


@pytest.fixture
def row(make_recording):
    return rows_of([make_recording("dog", 50)])[0]


def refusal(path):
    with pytest.raises(InvalidInput) as caught:
        read_pack(path)
    message = str(caught.value)
    assert str(path) in message
    assert len(message) < 1500
    assert "Traceback" not in message
    return message


LONG = [0.5] * 60
IDENTITY = {
    "no concept": {"concept": None},
    "a concept without a name": {"concept": {}},
    "a name that is a list": {"concept": {"name": ["dog"]}},
    "a name that leaves its folder": {"concept": {"name": "../../dog"}},
    "a name that steers the terminal": {"concept": {"name": "dog\x1b[2J"}},
    "a name that reorders text": {"concept": {"name": "dog\u202e"}},
    "a lone surrogate": {"concept": {"name": "dog\ud800"}},
    "an endless name": {"concept": {"name": "d" * 5000}},
    "images that are a number": {"concept": {"name": "dog", "images": 5}},
    "a noun that is a list": {"concept": {"name": "dog", "class_noun": ["x"]}},
    "a budget that is true": {"budget": True},
    "a budget below the smallest": {"budget": 3},
    "a negative budget": {"budget": -50},
    "a huge budget": {"budget": 10**30},
    "a text as budget": {"budget": "50"},
    "a text as seed": {"seed": "first"},
    "a method that is a list": {"method": ["svdiff"]},
    "a method's name that is a mapping": {"method": {"name": {}}},
    "a base model that is a number": {"base_model": 5},
    "another budget than steps": {"budget": 51},
    "a number that is not finite": {"further": float("nan")},
    "deep nesting": {"further": json.loads("[" * 60 + "]" * 60)},
}
QUALITY = {
    "steps that fall": {"steps": [0, 20, 10, 30, 40, 50]},
    "a step twice": {"steps": [0, 10, 10, 30, 40, 50]},
    "a step beyond the end": {"steps": [0, 10, 20, 30, 40, 51]},
    "a negative step": {"steps": [-1, 10, 20, 30, 40, 50]},
    "a huge step": {"steps": [0, 10, 20, 30, 40, 10**25]},
    "half a step": {"steps": [0, 10, 20, 30, 40, 49.5]},
    "fewer steps than scores": {"steps": [0, 10]},
    "more scores than steps": {"scores": {"train_clip_image": LONG}},
    "no seconds": {"seconds": []},
    "negative seconds": {"seconds": [1, 1, 1, 1, 1, -1]},
    "seconds that are texts": {"seconds": ["1"] * 6},
    "a score that is not finite": {"scores": {"train_clip_image": [float("inf")] * 6}},
    "a score that is nothing": {"scores": {"train_clip_image": [None] * 6}},
    "a metric that steers the terminal": {"scores": {"\x1b[31m": [1.0] * 6}},
    "scores that are a list": {"scores": [[1.0] * 6]},
    "an unknown field": {"more": 1},
}
ROW = {
    "another key": {"key": "0" * 20},
    "too few losses": {"train_loss": [1.0] * 49},
    "too many seconds": {"seconds": LONG},
    "no gradients": {"grad_norm": []},
    "losses of half an input": {"input_losses": [0.5] * 75},
    "no input": {"inputs": 0},
    "negative inputs": {"inputs": -2},
    "more inputs than losses": {"inputs": 4},
    "a loss that is no number": {"input_losses": [float("nan")] * 100},
    "negative times": {"l_det_seconds": [-1.0] * 50},
    "an infinite time": {"seconds": [float("inf")] * 50},
    "an empty cell": {"facts": None},
    "an empty series": {"seconds": None},
    "an empty value in a series": {"seconds": [None] * 50},
    "an endless reason": {"reason": "because " * 10_000},
    "an identity that is a list": {"identity": "[]"},
    "an identity that is no JSON": {"identity": "{'a': 1}"},
    "deep brackets": {"facts": "[" * 100_000},
    "a deep mapping": {"facts": '{"a":' * 500 + "1" + "}" * 500},
    "facts that are not finite": {"facts": '{"loss": NaN}'},
    "facts that overflow": {"facts": '{"loss": 1e999}'},
    "facts of thousands of digits": {"facts": '{"loss": ' + "9" * 5000 + "}"},
    "initial losses that are texts": {"facts": '{"initial_losses": ["high"]}'},
}


@pytest.mark.parametrize("changes", IDENTITY.values(), ids=IDENTITY)
def test_an_identity_that_no_run_has(row, tmp_path, changes):
    refusal(write(tmp_path / "x", [of_identity(row, **changes)]))


@pytest.mark.parametrize("changes", QUALITY.values(), ids=QUALITY)
def test_quality_that_was_never_measured(row, tmp_path, changes):
    refusal(write(tmp_path / "x", [changed(row, "quality", **changes)]))


@pytest.mark.parametrize("changes", ROW.values(), ids=ROW)
def test_rows_that_no_recording_has(row, tmp_path, changes):
    refusal(write(tmp_path / "x", [row | changes]))


def test_what_is_unusual_but_sound_is_read(row, tmp_path):
    quality = {"steps": [], "seconds": [], "scores": {}, "samples_seconds": {}}
    usual = changed(row, "quality", **quality) | {"reason": "café [b]", "grad_norm": [float("inf")] * 50}
    other = of_identity(usual, seed=7, further={"of": ["another", "program", 1.5, None]})
    recordings = read_pack(write(tmp_path / "x", [usual, other]))
    assert [recording.identity.seed for recording in recordings].count(7) == 1
    assert {len(recording.quality.steps) for recording in recordings} == {0}


def test_a_whole_pack_without_fixed_inputs(make_recording, tmp_path):
    row = rows_of([make_recording("dog", 50)], compact=False)[0] | {"inputs": 0, "input_losses": []}
    recording = read_pack(write(tmp_path / "x", [row], compact=False))[0]
    assert recording.steps.input_losses.shape == (50, 0)
    assert np.isfinite(recording.steps.l_det).all()


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"format": 2}, "has format 2"),
        ({"format": "1"}, "format: must be a whole number"),
        ({"format": True}, "format: must be a whole number"),
        ({"compact": False}, "its columns are"),
        ({"compact": "yes"}, "compact: must be true or false"),
        ({"sha256": "0" * 64}, "does not match the hash"),
        ({"sha256": None}, "sha256: must be text"),
        ({"author": "me"}, "author"),
    ],
)
def test_descriptions_that_do_not_fit(row, tmp_path, about, message):
    assert message in refusal(write(tmp_path / "x", [row], about=about))


def test_a_run_twice(row, tmp_path):
    assert "row 2" in refusal(write(tmp_path / "x", [row, row]))


@pytest.mark.parametrize("name", ["key", "quality", "inputs", "seconds"])
def test_columns_that_are_missing_or_of_another_type(row, tmp_path, name):
    fields = list(pack._schema(True))
    without = pa.schema([field for field in fields if field.name != name])
    other = pa.schema([pa.field(field.name, pa.int8()) if field.name == name else field for field in fields])
    for index, schema in enumerate((without, other, pa.schema([*fields, pa.field("more", pa.string())]))):
        table = {field.name: row.get(field.name) for field in schema}
        values = {"more": "x", name: 3} if schema is other else {"more": "x"}
        refusal(write(tmp_path / str(index), [{key: values.get(key, table[key]) for key in table}], schema=schema))


@pytest.mark.parametrize("options", [{}, {"use_dictionary": True}, {"compression": "gzip"}])
def test_small_files_that_declare_large_tables(row, tmp_path, options):
    """All of them are some kilobytes, and stand for up to 400 MB."""
    zeros = np.zeros(3_000_000, np.float32)
    before = pa.default_memory_pool().bytes_allocated()
    path = write(tmp_path / "x", [row | {"seconds": zeros, "input_losses": zeros}], **options)
    assert path.stat().st_size < 60_000
    message = refusal(path)
    assert "declares" in message or "encoded otherwise" in message
    assert pa.default_memory_pool().bytes_allocated() - before < 1e6


def test_a_text_that_is_stored_once_and_used_often(row, tmp_path):
    rows = [row | {"reason": "x" * 100_000}] * 2_000
    path = tmp_path / "x"
    table = pa.Table.from_pylist(rows, schema=pack._schema(True))
    pq.write_table(table, path, use_dictionary=["reason"], compression="zstd")
    assert "declares" in refusal(path) or "encoded otherwise" in refusal(path)


def test_many_rows(tmp_path):
    path = tmp_path / "x"
    columns = {name: pa.array([""] * 60_000) for name in ("key", "identity", "facts", "reason", "quality")}
    pq.write_table(pa.table(columns), path, use_dictionary=False)
    assert "texts" in refusal(path)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "empty", "loop"):
        refusal(tmp_path / name)
    refusal(tmp_path)


def test_what_is_too_much_is_not_packed(make_recording, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "MAX_VALUES", 500)
    with pytest.raises(InvalidInput, match=r"700 values are too many .* at most .* 500 values"):
        pack.write_pack([make_recording("a", 50), make_recording("b", 50)], tmp_path / "x")
    assert not list(tmp_path.iterdir())
    assert MAX_VALUES > 336 * 6100 * 12


def varint(number):
    """A number as Thrift's compact protocol writes it."""
    content, number = bytearray(), 2 * number
    while number > 127:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])


@pytest.mark.parametrize("name", ["num_values", "total_uncompressed_size"])
def test_a_footer_that_declares_less_than_the_pages_unpack_to(row, tmp_path, name):
    """Arrow would follow the pages: 8 KB like these take more than a gigabyte."""
    path = write(tmp_path / "x", [row | {"input_losses": np.zeros(900_000, np.float32)}])
    metadata = pq.read_metadata(path)
    column = next(
        metadata.row_group(0).column(index)
        for index in range(metadata.num_columns)
        if metadata.row_group(0).column(index).path_in_schema.startswith("input_losses")
    )
    stated, less = varint(getattr(column, name)), bytearray(varint(1000))
    while len(less) < len(stated):
        less[-1] |= 128
        less.append(0)
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[:footer] + content[footer:].replace(stated, bytes(less)))
    assert "something else than it declares" in refusal(path)


def footer_of(content):
    """The footer's bytes, and where they begin."""
    begin = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    return content[begin:-8], begin


def with_footer(content, footer):
    return content[: footer_of(content)[1]] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def test_pages_that_are_encoded_otherwise_than_the_footer_says(tmp_path):
    """Texts that share their beginnings: 450 bytes like these stood for 300 MB."""
    path = tmp_path / "x"
    table = pa.table({"key": ["a" * 10_000] * 2000})
    encoding = {"key": "DELTA_BYTE_ARRAY"}
    pq.write_table(table, path, use_dictionary=False, column_encoding=encoding, compression="zstd")
    assert "encoded otherwise" in refusal(path)
    content = path.read_bytes()
    footer = footer_of(content)[0]
    stated, usual = bytes([0x19, 0x25, 2 * 3, 2 * 7]), bytes([0x19, 0x25, 2 * 3, 2 * 0])  # a list of RLE and this one
    assert stated in footer
    path.write_bytes(with_footer(content, footer.replace(stated, usual)))
    assert pq.read_table(path).equals(table)
    assert "a page is encoded otherwise" in refusal(path)


@pytest.mark.parametrize(("kind", "number", "groups"), [(10, 4, 1), (9, 4 + 2**16, 0)])
def test_a_footer_that_arrow_reads_otherwise(row, tmp_path, kind, number, groups):
    """Groups of rows are given again: as a set, which Arrow skips, or under a number that it cuts to theirs."""
    path = write(tmp_path / "x", [row])
    content = path.read_bytes()
    again = bytes([kind, *varint(number), 0x0C])
    path.write_bytes(with_footer(content, footer_of(content)[0][:-1] + again + b"\0"))
    assert pq.read_metadata(path).num_row_groups == groups
    assert "footer is damaged" in refusal(path)


@pytest.mark.parametrize("kind", [5, 9, 12])
def test_a_footer_that_holds_too_much(monkeypatch, kind):
    """8 MB of empty structures took 650 MB, and of numbers 13 seconds."""
    footer = bytes([0x19, 0xF0 | kind, 0xE8, 0x07]) + bytes(1000) + b"\0"  # a list of 1000 values, each one byte
    content = with_footer(b"PAR1" + bytes(8), footer)
    with pytest.raises(ValueError, match="its footer is damaged") as caught:
        pages.read_chunks(io.BytesIO(content))
    assert isinstance(caught.value.__cause__, KeyError)  # it was read whole, and lacks its groups of rows
    monkeypatch.setattr(pages, "MAX_FOOTER_VALUES", 999)
    with pytest.raises(ValueError, match="its footer is damaged") as caught:
        pages.read_chunks(io.BytesIO(content))
    assert isinstance(caught.value.__cause__, IndexError)


def test_endless_empty_pages(tmp_path):
    """A file of 400 KB with columns that lie over one another had pages for a minute."""
    header = bytes([0x15, 0, 0x15, 0, 0x15, 0, 0x2C, 0x15, 0, 0x15, 0, 0x15, 0, 0x15, 0, 0, 0])
    (tmp_path / "x").write_bytes(header * 2000)
    chunk = pages.Chunk(0, 2000 * len(header), 2000 * len(header), 0, False)
    with (tmp_path / "x").open("rb") as file:
        pages.check_pages(file, [chunk])
        with pytest.raises(ValueError, match="more than 50,000 pages"):
            pages.check_pages(file, [chunk] * 26)


def test_pages_whose_headers_are_damaged(row, tmp_path):
    path = write(tmp_path / "x", [row])
    content, original = path.read_bytes(), read_pack(path)[0]
    start = pq.read_metadata(path).row_group(0).column(8).data_page_offset
    refused = 0
    for position in range(40):
        damaged = bytearray(content)
        damaged[start + position] = 255
        path.write_bytes(damaged)
        try:
            assert np.array_equal(read_pack(path)[0].steps.seconds, original.steps.seconds)  # such as a statistic
        except InvalidInput:
            refused += 1
    assert refused > 15


def test_damaged_footers_are_refused_or_change_nothing(make_recording, tmp_path):
    """Some of them end the process inside Arrow, unless they are checked before."""
    path = write(tmp_path / "x", rows_of([make_recording("dog", 20), make_recording("cat", 20)]))
    content, keys = path.read_bytes(), [recording.key for recording in read_pack(path)]
    begin = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    rng, refused = np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(content)
        for position in rng.integers(begin, len(content), size=rng.integers(1, 4)):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert [recording.key for recording in read_pack(path)] == keys
        except InvalidInput:
            refused += 1
    assert refused > 100
