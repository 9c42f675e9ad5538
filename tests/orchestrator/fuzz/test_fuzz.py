"""Hostile files of every kind are read, or refused with a message: no other exception, no hang, nothing written."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from orchestrator.config.load import build
from orchestrator.recordings import RecordingStore
from orchestrator.recordings.collection import take_in
from orchestrator.recordings.pack import read_pack, write_pack
from orchestrator.study import best as best_file
from tests.orchestrator.fuzz.strategies import damaged, few, harmless, many, texts, values
from tests.orchestrator.recordings.packing import changed, of_identity, rows_of, write
from trainables import plain_yaml
from trainables.data.concept import load_concept
from trainables.data.concept_image import ConceptImage
from trainables.text import is_printable, printable, quoted

EFFORTS = [pytest.param(few, id="few"), pytest.param(many, id="many", marks=pytest.mark.slow)]
BEST = """
format: 1
criterion: dvar
params: {window: 20, threshold: 0.5}
tuned_on: [dog]
method: svdiff
base_model: miniature
budget: 100
measure: train_clip_image
quality_kept_wanted: 0.9
quality_kept: 0.95
iterations: 50.0
is_feasible: true
trials: 9
objective: reliable
risk: 0.25
choices: [{criterion: few_iterations, params: {steps: 60}}]
"""
CONCEPT = "name: dog\nclass_noun: dog\nplaceholder: <my-dog>\nvalidation_prompts: ['a {} in the snow', 'a {} here']\n"


def search(effort, strategy, body, folder):
    """Call `body` on drawn values; it may raise InvalidInput alone."""

    @effort
    @given(strategy)
    def attempt(value):
        with harmless(folder):
            body(value)

    attempt()


@pytest.fixture
def outside(tmp_path):
    """A folder in which nothing may appear."""
    (tmp_path / "outside").mkdir()
    return tmp_path


@pytest.fixture
def packed(make_recording, tmp_path):
    write_pack([make_recording("dog", 40), make_recording("cat", 40)], tmp_path / "pack")
    return tmp_path / "pack"


@pytest.mark.parametrize("effort", EFFORTS)
def test_damaged_packs(effort, packed, outside):
    def body(data):
        packed.write_bytes(data)
        read_pack(packed)

    search(effort, damaged(packed.read_bytes()), body, outside)


@pytest.mark.parametrize("effort", EFFORTS)
def test_packs_with_other_content_are_refused_or_can_be_imported_and_read(
    effort, make_recording, tmp_path_factory, monkeypatch
):
    monkeypatch.setattr("orchestrator.storage.atomic.os.fsync", lambda file: None)  # for speed
    folder = tmp_path_factory.mktemp("packs")
    row = rows_of([make_recording("dog", 8)])[0]
    keys = {name: sorted(json.loads(row[name])) for name in ("identity", "quality", "facts")}

    @st.composite
    def rows(draw):
        column = draw(st.sampled_from(["identity", "quality", "facts", "reason", "inputs", "key", "text"]))
        if column in keys:
            changes = draw(st.dictionaries(st.one_of(st.sampled_from(keys[column]), texts), values, max_size=2))
            return of_identity(row, **changes) if column == "identity" else changed(row, column, **changes)
        if column == "text":
            return row | {draw(st.sampled_from(sorted(keys))): json.dumps(draw(values))}
        drawn = draw(st.integers(-(2**31), 2**31 - 1)) if column == "inputs" else draw(texts)
        return row | {column: drawn.encode("utf-8", "replace").decode() if isinstance(drawn, str) else drawn}

    count = iter(range(10**9))

    @effort
    @given(rows())
    def attempt(changed_row):
        place = folder / str(next(count))
        recordings = []
        write(folder / "pack", [changed_row])
        with harmless(folder):
            recordings += read_pack(folder / "pack")
        if not recordings:
            return
        assert take_in(recordings, str(place)) == 1
        store = RecordingStore(str(place / "recordings"))
        assert [row.key for row in store.list()] == [recordings[0].key]
        assert store.read(recordings[0].key).identity == recordings[0].identity
        assert {path.name for path in folder.iterdir()} <= {"pack", *map(str, range(10**4))}

    attempt()


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("name", ["manifest.json", "status.json", "facts.json", "steps.parquet", "quality.parquet"])
def test_damaged_recordings(effort, name, packed, outside):
    place = outside / "there"
    take_in(read_pack(packed), str(place))
    store = RecordingStore(str(place / "recordings"))
    file = next((place / "recordings").glob("dog-*")) / name
    key = file.parent.name.rpartition("-")[2]

    def body(data):
        file.write_bytes(data)
        scan = store.scan()
        assert len(scan.summaries) + len(scan.damaged) == 2
        store.read(key)

    search(effort, damaged(file.read_bytes()), body, outside)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("name", ["manifest.json", "status.json", "facts.json"])
def test_recordings_with_other_content(effort, name, packed, outside):
    place = outside / "there"
    take_in(read_pack(packed), str(place))
    store = RecordingStore(str(place / "recordings"))
    file = next((place / "recordings").glob("dog-*")) / name
    fields, key = json.loads(file.read_bytes()), file.parent.name.rpartition("-")[2]

    def body(changes):
        file.write_text(json.dumps(fields | changes))
        assert len(store.scan().summaries) + len(store.scan().damaged) == 2
        store.read(key)

    keys = st.one_of(st.sampled_from(sorted(fields) or ["x"]), texts)
    search(effort, st.dictionaries(keys, values, max_size=2), body, outside)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("kind", ["damaged", "values", "text"])
def test_experiments(effort, kind, outside):
    file, default = outside / "x.yaml", build("miniature", None, [])
    text = plain_yaml.dump(default.model_dump(mode="json"))
    keys = [*default.model_dump(), *(f"{part}.{key}" for part in ("method", "study", "quality", "resources", "concepts",
            "base_model", "fixed_batch") for key in default.model_dump()[part])]  # fmt: skip

    def body(value):
        if kind == "values":
            experiment = build("miniature", None, list(value.items()))
        else:
            file.write_bytes(value)
            experiment = build(None, file, [])
        file.write_text(plain_yaml.dump(experiment.model_dump(mode="json")))
        assert build(None, file, []) == experiment
        assert is_printable(plain_yaml.dump(experiment.model_dump(mode="json")).replace("\n", ""))

    drawn = {
        "damaged": damaged(text.encode()),
        "values": st.dictionaries(st.one_of(st.sampled_from(keys), texts), values, max_size=2),
        "text": st.text(st.sampled_from("{}[]:,-&*!?|>'\"#%@ \nab1.~<"), max_size=60).map(str.encode),
    }[kind]
    file.write_text(text)
    search(effort, drawn, body, outside)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("kind", ["damaged", "values"])
def test_best_files(effort, kind, outside):
    file, fields = outside / "best.yaml", plain_yaml.load(BEST)
    file.write_text(BEST)

    def body(value):
        if kind == "damaged":
            file.write_bytes(value)
        else:
            file.write_text(plain_yaml.dump(fields | value), encoding="utf-8", errors="replace")
        best = best_file.read(file)
        assert all(str(choice.make_criterion()) for choice in (best, *best.choices))

    of_values = st.dictionaries(st.one_of(st.sampled_from([*fields, "params"]), texts), values, max_size=2)
    search(effort, damaged(BEST.encode()) if kind == "damaged" else of_values, body, outside)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("kind", ["damaged", "values"])
def test_concept_files(effort, kind, outside):
    folder = outside / "dog"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (folder / "concept.yaml").write_text(CONCEPT)

    def body(value):
        if kind == "damaged":
            (folder / "concept.yaml").write_bytes(value)
        else:
            (folder / "concept.yaml").write_text(plain_yaml.dump(value), encoding="utf-8", errors="replace")
        concept = load_concept(folder)
        shown = (concept.name, concept.class_noun, concept.placeholder, *concept.validation_prompts)
        assert all(map(is_printable, shown))

    keys = st.one_of(st.sampled_from(["name", "class_noun", "placeholder", "validation_prompts"]), texts)
    of_values = st.dictionaries(keys, values, max_size=3)
    search(effort, damaged(CONCEPT.encode()) if kind == "damaged" else of_values, body, outside)


def pictures():
    for kind, mode in (
        ("PNG", "RGBA"),
        ("JPEG", "RGB"),
        ("GIF", "P"),
        ("TIFF", "I;16"),
        ("BMP", "RGB"),
        ("WEBP", "RGB"),
    ):
        buffer = io.BytesIO()
        Image.new(mode, (16, 16), 3 if mode in ("P", "I;16") else (9,) * len(mode)).save(buffer, kind)
        yield pytest.param(buffer.getvalue(), id=kind)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("data", list(pictures()))
def test_damaged_images(effort, data, outside):
    search(effort, damaged(data), lambda content: ConceptImage("a picture", content).decode(), outside)


@pytest.mark.parametrize("effort", EFFORTS)
def test_text_that_is_shown(effort, outside):
    def body(value):
        text = value if isinstance(value, str) else repr(value)
        for shown in (printable(text), quoted(value)):
            assert is_printable(shown)
            assert "\n" not in shown
            shown.encode("utf-8")

    search(effort, st.one_of(texts, values), body, outside)
