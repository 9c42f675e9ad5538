"""Experiments: from preset, file and flags; wrong keys and values; the split into tuning and test concepts."""

import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from orchestrator.config import presets
from orchestrator.config.concepts import read_concepts
from orchestrator.config.experiment import OTHER_COLUMNS, Experiment, quality_identity
from orchestrator.config.fields import MAX_VALUES
from orchestrator.config.load import build
from orchestrator.config.split import split_concepts
from orchestrator.recordings.format import VALUES, encode_steps
from orchestrator.recordings.identity import json_hash
from trainables import plain_yaml
from trainables.data.concept import Concept, concept_from_images
from trainables.data.concept_image import ConceptImage
from trainables.errors import InvalidInput
from trainables.miniature.recipes import RECIPES
from trainables.settings import HeldOutSettings


@pytest.fixture
def concepts():
    return [concept_from_images(f"toy_{i}", "toy", [Image.new("RGB", (8, 8), (i, 0, 0))]) for i in range(9)]


def test_flags_override_the_file_and_the_file_the_preset(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("preset: sd15\nbudget: 200\nquality: {samples: 3}\n")
    experiment = build(None, file, [("quality.every", 7), ("budget", 300)])
    assert (experiment.preset, experiment.base_model.resolution) == ("sd15", 512)
    assert (experiment.budget, experiment.quality.samples, experiment.quality.every) == (300, 3, 7)


def test_another_method_does_not_get_the_settings_of_the_presets_own(tmp_path):
    assert build("miniature", None, []).method.settings
    file = tmp_path / "x.yaml"
    file.write_text("method: {name: mine:Method, settings: {depth: 2}}\n")
    assert build("miniature", file, []).method.settings == {"depth": 2}
    given = [("method.name", "mine:Method"), ("method.settings.depth", 3)]
    assert build("miniature", None, given).method.settings == {"depth": 3}
    plain = build("miniature", None, [])
    assert build("miniature", file, [("method.name", "textual_inversion")]).method == plain.method


def test_a_preset_suits_the_method():
    experiment = build("sd15", None, [("method.name", "custom_diffusion")])
    assert (
        experiment.budget,
        experiment.quality.every,
        experiment.quality.guidance_scale,
        experiment.method.settings,
    ) == (500, 100, 6.0, {})
    assert build("sd15", None, [("method.name", "p_plus")]).budget == 500
    assert build("sd15", None, [("method.name", "svdiff"), ("budget", 70)]).budget == 70
    small = build("miniature", None, [("method.name", "svdiff")])
    assert (small.budget, small.method.settings) == (RECIPES["svdiff"].budget, RECIPES["svdiff"].settings)


def test_a_named_recipe_stands_in_for_the_presets_settings(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("method: {recipe: diffusers, settings: {batch_size: 3}}\n")
    for experiment in (
        build("miniature", file, []),
        build("miniature", None, [("method.recipe", "diffusers"), ("method.settings.batch_size", 3)]),
    ):
        assert (experiment.method.recipe, experiment.method.settings) == ("diffusers", {"batch_size": 3})


def test_a_recipe_that_is_named_later_replaces_settings_that_were_named_before(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(build("miniature", None, []).model_dump(mode="json")))
    experiment = build(None, file, [("method.recipe", "paper"), ("method.settings.batch_size", 7)])
    assert (experiment.method.recipe, experiment.method.settings) == ("paper", {"batch_size": 7})


def test_a_recipe_of_another_method_is_left_out(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("method: {name: dreambooth, recipe: prior, settings: {batch_size: 3}}\nbudget: 77\n")
    experiment = build("sd15", file, [("method.name", "svdiff")])
    assert (experiment.method.name, experiment.method.recipe, experiment.method.settings, experiment.budget) == (
        "svdiff",
        None,
        {},
        77,
    )


def test_a_method_that_cannot_be_loaded_is_named_where_its_budget_is_needed():
    with pytest.raises(InvalidInput, match=r"unknown method 'dreambuth'.*did you mean 'dreambooth'"):
        build("sd15", None, [("method.name", "dreambuth")])


@pytest.mark.parametrize("name", list(presets.PRESETS))
def test_what_show_prints_is_read_back_as_it_was(tmp_path, name):
    experiment = presets.load(name)
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(experiment.model_dump(mode="json")))
    assert build(None, file, []) == experiment


@pytest.mark.parametrize("text", ["1e5", "12e5", "1e-3", "0.5", "true", "null", "7", "1_000", "2026-01-01"])
def test_texts_that_look_like_something_else_survive(tmp_path, text):
    experiment = build(None, None, [("name", text), ("concepts.source", text)])
    file = tmp_path / "x.yaml"
    file.write_text(plain_yaml.dump(experiment.model_dump(mode="json")))
    assert build(None, file, []) == experiment


def test_a_preset_is_a_key_like_any_other(tmp_path):
    assert build(None, None, [("preset", "sd15")]).base_model.resolution == 512
    file = tmp_path / "x.yaml"
    file.write_text("preset: sd15\n")
    assert build(None, file, [("preset", "miniature")]).preset == "miniature"
    assert build("miniature", file, []).preset == "miniature"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("method.recipe", 5, "recipe: .* got 5"),
        ("budgt", 3, "unknown key 'budgt'; did you mean 'budget'"),
        ("quality.evry", 3, "unknown key 'quality.evry'; did you mean 'every'"),
        ("base_model.dtyp", "x", "did you mean 'dtype'"),
        ("budget", "many", "budget: .* got 'many'"),
        ("budget", 1, "budget: .* got 1"),
        ("base_model.dtype", "int8", "unknown dtype 'int8'; available: float32"),
        ("base_model.resolution", 65, "multiple of 8 pixels, at most 4096, got 65"),
        ("quality.samples", 0, "quality: samples must be at least 1, got 0"),
        ("seeds", [], r"seeds: .*at least 1, got \[\]"),
        ("seeds", ["x"], "seeds.0: .* got 'x'"),
        ("fixed_batch.size", 0, "at least one input, got size 0"),
        ("study.quality_kept", 1.5, "study.quality_kept: .* got 1.5"),
        ("resources.gpus_per_trial", -1, "resources.gpus_per_trial: .* got -1"),
    ],
)
def test_wrong_keys_and_values_are_named(key, value, message):
    with pytest.raises(InvalidInput, match=message):
        build("miniature", None, [(key, value)])


def test_unknown_preset():
    with pytest.raises(
        InvalidInput, match=r"unknown preset 'sd51'; did you mean 'sd15'. Available: miniature, benchmark, sd15"
    ):
        build("sd51", None, [])


@pytest.mark.parametrize("content", ["- 1", "{", "just text"])
def test_a_file_that_is_no_experiment(tmp_path, content):
    file = tmp_path / "x.yaml"
    file.write_text(content)
    with pytest.raises(InvalidInput, match=r"x\.yaml"):
        build(None, file, [])


def test_split_covers_all_and_does_not_overlap(concepts):
    split = split_concepts(Experiment(), concepts)
    assert len(split.tuning) == 4
    assert set(split.tuning) | set(split.test) == set(concepts)
    assert not set(split.tuning) & set(split.test)


@pytest.mark.parametrize("index", range(9))
def test_a_further_concept_moves_no_other_unless_it_takes_its_place(concepts, index):
    settings = build(None, None, [("concepts.tuning", 3)])
    before = {c.name for c in split_concepts(settings, concepts[:index] + concepts[index + 1 :]).tuning}
    after = {c.name for c in split_concepts(settings, concepts).tuning}
    assert after - before <= {concepts[index].name}
    assert len(before) == len(after) == 3


def test_the_seed_chooses_the_tuning_concepts(concepts):
    def chosen(seed):
        settings = build(None, None, [("concepts.tuning", 3), ("seed", seed)])
        return frozenset(concept.name for concept in split_concepts(settings, concepts).tuning)

    assert chosen(5) == chosen(5)
    assert len({chosen(seed) for seed in range(6)}) > 1


def test_split_by_names_and_of_one_concept(concepts):
    named = split_concepts(build(None, None, [("concepts.tuning", ["toy_1", "toy_4"])]), concepts)
    assert [c.name for c in named.tuning] == ["toy_1", "toy_4"]
    alone = split_concepts(Experiment(), concepts[:1])
    assert alone.is_shared
    assert alone.all == (concepts[0],)


@pytest.mark.parametrize(
    ("tuning", "message"),
    [(10, "between 1 and 9 concepts, got 10"), (["toy_x"], "unknown concept 'toy_x'"), (0, "got 0")],
)
def test_impossible_splits(concepts, tuning, message):
    with pytest.raises(InvalidInput, match=message):
        split_concepts(build(None, None, [("concepts.tuning", tuning)]), concepts)


@pytest.mark.parametrize(
    ("key", "value", "is_same"),
    [
        ("name", "other", True),
        ("storage", "elsewhere", True),
        ("study.trials", 3, True),
        ("resources.report_steps", 3, True),
        ("budget", 151, False),
        ("seed", 1, False),
        ("fixed_batch.seed", 1, False),
        ("quality.every", 7, False),
        ("quality.seed", 1, False),
        ("quality.repeats", 2, False),
        ("stratified_batch", None, False),
        ("stratified_batch.size", 3, False),
        ("stratified_batch.floor", 0.3, False),
        ("held_out", {"source": "x"}, False),
        ("method.recipe", "paper", False),
        ("method.settings", {"learning_rate": 0.1}, False),
        ("base_model.dtype", "bfloat16", False),
        ("base_model.resolution", 32, False),
    ],
)
def test_the_key_depends_on_what_determines_the_run_alone(concepts, key, value, is_same):
    plain = build(None, None, [])
    changed = build(None, None, [(key, value)])
    keys = {json_hash(changed_experiment.identity(concepts[0], "f")) for changed_experiment in (plain, changed)}
    assert (len(keys) == 1) is is_same


def test_the_key_depends_on_concept_and_base_model(concepts):
    plain = Experiment()
    keys = {json_hash(plain.identity(c, f)) for c in concepts[:2] for f in ("a", "b")}
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("budget", True, "budget: must be a whole number, got True"),
        ("seeds", [True, 2], "seeds.0: must be a whole number, got True"),
        ("quality.samples", True, "quality: samples must be a whole number, got True"),
        ("quality.every", False, "quality: every must be a whole number or null, got False"),
        ("quality.guidance_scale", float("inf"), "quality.guidance_scale: must be a finite number, got inf"),
        ("base_model.resolution", 10**9, "resolution must be a positive multiple of 8 pixels, at most 4096"),
        ("base_model.id", " ", "id must name a base model"),
        ("fixed_batch.size", 10**9, "size must be at most 10,000"),
        ("budget", 10**40, "budget: must be at most 10000000"),
        ("storage", "", "storage: must not be empty"),
        ("storage", " ", "storage: a storage must be a folder or a URL"),
        ("storage", "a\0b", "must be a folder or a URL"),
        ("resources.cpus_per_trial", float("inf"), "cpus_per_trial: must be a finite number"),
        ("resources.cpus_per_trial", float("nan"), "cpus_per_trial: must be a finite number"),
        ("concepts.tuning", -1, "tuning: must be a number of concepts, at least 1, .* got -1"),
        ("concepts.tuning", True, "tuning: must be a number of concepts, .* got True"),
        ("concepts.tuning", [], "tuning: must be a number of concepts"),
        ("concepts.only", [], "only: must hold at least 1"),
        ("study.criteria", [], "criteria: must hold at least 1"),
        ("study.criteria", [""], "criteria.0: must not be empty"),
        ("study.seed", -1, "study.seed: must be at least 0"),
        ("study.cost", "time", "study.cost: must be 'iterations' or 'seconds', got 'time'"),
        ("method.settings", {"learning_rate": float("nan")}, "method.settings: values must be .* got nan"),
        ("study.fixed", {"dvar": {"stride": {1, 2}}}, "study.fixed.dvar: values must be .*"),
        ("method", 3, "method: must hold keys and values, got 3"),
        ("name", "x" * 9999, r"name: must have at most 4096 characters, got 'x+\.\.\. \("),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_in_our_words(key, value, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        build("miniature", None, [(key, value)])
    assert len(str(caught.value)) < 500
    assert "Input should" not in str(caught.value)


def test_a_run_whose_recording_could_not_be_read_is_refused():
    """Its table has six columns besides those of the fixed inputs, and is refused beyond MAX_VALUES."""
    most = MAX_VALUES // (512 + OTHER_COLUMNS)
    assert build(None, None, [("fixed_batch.size", 512), ("stratified_batch", None), ("budget", most)]).budget == most
    with pytest.raises(InvalidInput, match=r"65,537 steps with 512 .* at most 33,554,432; lower budget or fixed_batch"):
        build(None, None, [("fixed_batch.size", 512), ("stratified_batch", None), ("budget", 65_537)])
    table = encode_steps(np.zeros((3, len(VALUES) + 512)))
    assert pq.read_metadata(pa.BufferReader(table)).num_columns == 512 + OTHER_COLUMNS


def test_a_key_given_twice_is_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("budget: 30\nquality: {every: 5}\nbudget: 40\n")
    with pytest.raises(InvalidInput, match="'budget' is given twice, again in line 3"):
        build(None, tmp_path / "x.yaml", [])


@pytest.mark.parametrize("name", ["café", "Ångström", "강아지"])
def test_names_of_concepts_are_found_in_either_form_of_unicode(tmp_path, name):
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    for on_disk in forms:
        for folder in ("dog", on_disk):
            (tmp_path / on_disk / folder).mkdir(parents=True)
            Image.new("RGB", (8, 8), "red").save(tmp_path / on_disk / folder / "a.png")
        for given in forms:
            values = [("concepts.source", str(tmp_path / on_disk)), ("concepts.only", [given])]
            experiment = build("miniature", None, values)
            assert [concept.name for concept in read_concepts(experiment)] == [forms[0]]
            tuning = build("miniature", None, [values[0], ("concepts.tuning", [given])])
            assert [c.name for c in split_concepts(tuning, read_concepts(tuning)).tuning] == [forms[0]]


OFF = [("stratified_batch", None), ("held_out", None), ("quality.repeats", 0)]
UNCHANGING = Concept("dog", "dog", "<dog>", (ConceptImage("0.png", b"no image"),))


@pytest.mark.parametrize(
    ("preset", "method", "key"),
    [
        ("miniature", "textual_inversion", "24dcf0103586e83cb780"),
        ("benchmark", "svdiff", "fa29fec075e6139a757a"),
        ("sd15", "textual_inversion", "0824d705ec7f5d71242c"),
    ],
)
def test_without_further_batches_the_keys_are_those_of_earlier_versions(preset, method, key):
    # The demonstration took 160 steps in those versions.
    values = [("method.name", method), *([("budget", 160), ("quality.every", 20)] if preset == "miniature" else [])]
    plain = build(preset, None, [*values, *OFF])
    assert json_hash(plain.identity(UNCHANGING, "f")) == key
    assert json_hash(build(preset, None, values).identity(UNCHANGING, "f")) != key


def test_repeats_are_no_part_of_how_a_live_run_is_scored():
    quality = build("sd15", None, [("quality.repeats", 0)]).quality
    assert "repeats" not in quality_identity(quality)


def test_presets_record_the_stratified_batch():
    batches = {name: presets.load(name).stratified_batch for name in presets.PRESETS}
    shapes = {name: (batch.size, batch.every) for name, batch in batches.items()}
    assert shapes == {"miniature": (4, 5), "benchmark": (8, 1), "sd15": (8, 1)}
    assert presets.load("sd15").quality.repeats == presets.load("benchmark").quality.repeats == 4


@pytest.fixture
def photos(tmp_path):
    """Folders of images in as many colours, and further views of the first."""

    def make(**counts):
        for name, count in counts.items():
            folder = tmp_path / "concepts" / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (8, 8), (len(name), index, 0)).save(folder / f"{index}.png")
        return tmp_path / "concepts"

    return make


def test_spared_images_are_the_last_and_change_the_key(photos):
    place = str(photos(dog=3, cup=2))
    given = [("concepts.source", place), *OFF]
    whole, spared = (read_concepts(build("sd15", None, [*given, *more])) for more in ([], [("held_out.images", 1)]))
    assert [len(concept.images) for concept in spared] == [1, 2]
    for concept, full in zip(spared, whole, strict=True):
        assert concept.images == full.images[:-1]
        assert concept.held_out == full.images[-1:]
        assert concept.identity["held_out"] == [full.images[-1].identity]
        assert "1 held out" in concept.summary
        assert "held_out" not in full.identity


def test_a_concept_of_one_image_has_none_to_spare(photos):
    experiment = build("sd15", None, [("concepts.source", str(photos(dog=3, cup=1, mug=1))), ("held_out.images", 1)])
    with pytest.raises(InvalidInput) as error:
        read_concepts(experiment)
    assert "concept 'cup' has 1 image, so 1 cannot be held out" in str(error.value)
    assert "held_out.source" in str(error.value)
    assert "'mug'" in str(error.value)


def test_further_views_are_held_out_and_their_place_is_no_part_of_the_key(photos, tmp_path):
    place = str(photos(dog=1))
    experiments = []
    for name in ("views", "elsewhere"):
        folder = tmp_path / name / "dog"
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8), "white").save(folder / "a.png")
        given = [("concepts.source", place), ("held_out.source", str(tmp_path / name))]
        experiments.append(build("sd15", None, given))
    (first,), (second,) = map(read_concepts, experiments)
    assert (len(first.images), len(first.held_out)) == (1, 1)
    assert experiments[0].identity(first, "f") == experiments[1].identity(second, "f")
    without = experiments[0].model_copy(update={"held_out": None})
    (plain,) = read_concepts(without)
    assert without.identity(plain, "f") != experiments[0].identity(first, "f")


def test_views_that_cannot_be_held_out(photos, tmp_path):
    place, views = photos(dog=2), tmp_path / "views"
    experiment = build("sd15", None, [("concepts.source", str(place)), ("held_out.source", str(views))])
    with pytest.raises(InvalidInput, match=r"held_out\.source .*views cannot be read"):
        read_concepts(experiment)
    views.mkdir()
    with pytest.raises(InvalidInput, match=r"has no views of concept 'dog': put at least one image into .*views/dog"):
        read_concepts(experiment)
    (views / "dog").mkdir()
    (views / "dog" / "same.png").write_bytes((place / "dog" / "1.png").read_bytes())
    with pytest.raises(InvalidInput, match=r"same\.png is meant to be held out, but .* is trained on it \(.*1\.png\)"):
        read_concepts(experiment)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("held_out", {}, "held_out needs images"),
        ("held_out.images", -1, "must be at least 0, got -1"),
        ("held_out.images", True, "held_out: images must be a whole number, got True"),
        ("held_out.source", " ", "must name a folder"),
        ("held_out", {"images": 1, "size": 0}, r"held_out\.size must lie between 1 and 10,000, got 0"),
        ("stratified_batch.size", 10**9, r"stratified_batch\.size must lie between"),
        ("stratified_batch.floor", 1.0, "must be at least 0 and less than 1, got 1"),
        ("stratified_batch.every", 0, r"stratified_batch\.every must be at least 1, got 0"),
        ("stratified_batch.sise", 8, "unknown key 'stratified_batch.sise'; did you mean 'size'"),
        ("held_out.image", 1, "unknown key 'held_out.image'; did you mean 'images'"),
        ("quality.repeats", -1, "repeats must be at least 0, got -1"),
        ("study.l_det", "cheap", "l_det: must be 'paper' or 'stratified', got 'cheap'"),
    ],
)
def test_unusable_settings_of_batches(key, value, message):
    with pytest.raises(InvalidInput, match=message):
        build("sd15", None, [(key, value)])


def test_every_input_of_every_batch_counts_for_the_size_of_a_table():
    inputs = MAX_VALUES // 10_000 - OTHER_COLUMNS
    given = [("budget", 10_000), ("fixed_batch.size", 8), ("stratified_batch", {"size": 8})]
    build("sd15", None, [*given, ("held_out", {"images": 1, "size": inputs - 16})])
    with pytest.raises(InvalidInput, match=r"lower budget or fixed_batch\.size or stratified_batch\.size or held_out"):
        build("sd15", None, [*given, ("held_out", {"images": 1, "size": inputs - 15})])


def test_what_is_shown_of_an_experiment_reads_back(tmp_path):
    experiment = build("sd15", None, [("held_out", {"images": 2}), ("study.l_det", "paper")])
    file = tmp_path / "x.yaml"
    file.write_text(plain_yaml.dump(experiment.model_dump(mode="json")))
    assert build(None, file, []) == experiment
    assert experiment.held_out == HeldOutSettings(images=2)
    assert build(None, file, [("stratified_batch", None)]).stratified_batch is None
