"""What the fuzzing tests share: how long they search, hostile values, and damage to files."""

import os
import time
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from trainables.errors import InvalidInput

#: Examples of each test: the same ones in every run of the normal suite, others and more under the marker `slow`.
FEW, MANY = 60, 3000
#: Seconds that reading a single hostile file may take.
PATIENCE = 10
#: Bytes of memory that it may take.
MEMORY = 500_000_000

few = settings(
    max_examples=FEW, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
many = settings(max_examples=MANY, deadline=None, database=None, suppress_health_check=list(HealthCheck))

#: Text as files bring it: with control characters, marks that reorder, lone surrogates and markup.
texts = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp")), max_size=6),
    st.sampled_from(["", " ", "[red]", "../..", "\x1b[2J", "a\u202e", "\ud800", "x" * 5000, "yes", "1e999", ".nan"]),
)
numbers = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.sampled_from([0, -1, 1, 3, 2**31, 2**63, 10**40, 1e308, -0.0])
)
values = st.recursive(
    st.one_of(st.none(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


@st.composite
def damaged(draw, data):
    """Bytes with some of them changed, left out, repeated or added."""
    content = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.sampled_from(["flip", "set", "cut", "repeat", "add", "end"]))
        if kind == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and content:
            content[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del content[at : at + draw(st.integers(1, 40))]
        elif kind == "repeat":
            content[at:at] = content[at : at + draw(st.integers(1, 40))] * draw(st.integers(1, 5))
        elif kind == "add":
            content[at:at] = draw(st.binary(max_size=8))
        else:
            del content[at:]
    return bytes(content)


@contextmanager
def harmless(folder):
    """Check that the body raises InvalidInput or nothing, takes little time and memory, and adds no file."""
    before = _everything(folder)
    memory = _peak_memory(reset=True)
    start = time.monotonic()
    try:
        yield
    except InvalidInput as error:
        if not 0 < len(str(error)) < 20_000:
            raise AssertionError(f"a message of {len(str(error))} characters") from error
    assert time.monotonic() - start < PATIENCE
    assert _peak_memory() - memory < MEMORY
    assert _everything(folder) == before


def _peak_memory(*, reset=False):
    """Return the most bytes that this process had in memory since the last reset; 0 where the system does not say."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _everything(folder):
    return sorted(os.path.join(path, name) for path, folders, files in os.walk(folder) for name in folders + files)
