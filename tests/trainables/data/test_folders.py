"""What is read from a user's folders: files judged by content, nothing left out in silence, no guess where two fit."""

import importlib.util
import io
import os
import sys
import tracemalloc
import unicodedata
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from trainables.data import image_files, pixels
from trainables.data.concept import Concept, class_noun_for, load_concept, load_concepts
from trainables.data.concept_image import ConceptImage
from trainables.data.folders import read_contents
from trainables.data.pixels import to_rgb
from trainables.errors import InvalidInput

MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40
PICTURE_OF_A_LIST = b"MIMG\0\x01" * 20


def encoded(form="PNG", colour="red", **options):
    buffer = io.BytesIO()
    Image.new("RGB", (12, 10), colour).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def dog(tmp_path):
    folder = tmp_path / "concepts" / "dog"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(encoded())
    return folder


@pytest.fixture
def without_heif(monkeypatch):
    """The extra is not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    image_files.register_heif.cache_clear()
    yield
    image_files.register_heif.cache_clear()


def names(concept):
    return [image.name.rpartition("/")[2] for image in concept.images]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("IMG_0001", "JPEG"),
        ("scan", "TIFF"),
        ("b.jpg:large", "JPEG"),
        ("b.png", "JPEG"),
        ("b.JPG", "WEBP"),
        ("b", "AVIF"),
    ],
)
def test_an_image_is_one_whatever_it_is_called(dog, name, form):
    (dog / name).write_bytes(encoded(form, "blue"))
    concept = load_concept(dog)
    assert sorted(names(concept)) == sorted(["a.png", name])
    blue = concept.decode()[names(concept).index(name)].getpixel((5, 5))
    assert blue[2] > 240
    assert concept.unused == ()


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        ("manual.pdf", b"%PDF-1.7\n", "manual.pdf (PDF)"),
        ("manual.png", b"%PDF-1.7\n", "manual.png (PDF)"),
        ("clip.mov", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "clip.mov (video)"),
        ("clip.mpg", b"\0\0\x01\xba" + b"\0" * 90, "clip.mpg (video)"),
        ("clip", MP4, "clip (video)"),
        ("clip.avi", b"RIFF\0\0\0\0AVI LIST", "clip.avi (video)"),
        ("clip.webm", b"\x1aE\xdf\xa3" + b"\0" * 90, "clip.webm (video)"),
        ("notes.txt", b"P6 and P5, then I;16", "notes.txt"),
        ("weights.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 90, "weights.h5"),
        ("noise.bin", bytes(range(256)) * 8, "noise.bin"),
        ("zeros", bytes(4096), "zeros"),
        ("a.png_original", encoded(colour="green"), "a.png_original (backup)"),
        ("IMG_1.HEIC", HEIC, "IMG_1.HEIC (needs pillow-heif)"),
        ("IMG_1.jpg", HEIC, "IMG_1.jpg (needs pillow-heif)"),
        ("IMG_1.dng", encoded("TIFF"), "IMG_1.dng (export it as JPEG or PNG)"),
        ("IMG_1.tif", encoded("TIFF", tiffinfo={50706: b"\1\4\0\0"}), "IMG_1.tif (export it as JPEG or PNG)"),
        ("a\x1b[31m\u202e.txt", b"", "a\\x1b[31m\\u202e.txt"),
    ],
    ids=lambda value: ascii(value) if isinstance(value, str) else "",
)
def test_what_is_no_usable_image_is_named_and_not_used(dog, without_heif, name, content, shown):
    (dog / name).write_bytes(content)
    (dog / "notes").mkdir()
    (dog / "notes" / "b.png").write_bytes(encoded())
    (dog / ".DS_Store").write_bytes(b"hidden")
    concept = load_concept(dog)
    assert names(concept) == ["a.png"]
    assert concept.summary == f"dog: 1 image, noun 'dog', <dog>; not used: {shown}, notes/"
    assert concept.identity == load_concept(dog.parent / "dog").identity


def test_what_is_not_used_is_no_part_of_the_identity(dog):
    before = load_concept(dog)
    (dog / "notes.txt").write_text("later")
    after = load_concept(dog)
    assert after.unused == ("notes.txt",)
    assert (after.identity, after, hash(after)) == (before.identity, before, hash(before))


def test_a_long_list_is_cut(dog):
    for index in range(30):
        (dog / f"{index:02d}.txt").write_text("caption")
    assert load_concept(dog).summary.endswith("06.txt, 07.txt and 22 more")


def test_only_unreadable_images_are_an_error_that_says_what_is_needed(dog, without_heif):
    (dog / "a.png").rename(dog.parent / "a.png")
    (dog / "IMG_1.HEIC").write_bytes(HEIC)
    with pytest.raises(InvalidInput, match=r"dog holds no images that can be read: IMG_1\.HEIC \(needs pillow-heif\)"):
        load_concept(dog)
    with pytest.raises(InvalidInput, match="needs pillow-heif; install it, or convert"):
        ConceptImage("IMG_1.HEIC", HEIC).decode()


def test_heic_is_read_with_the_extra(dog, monkeypatch):
    """Whatever registers itself with Pillow is used; the package itself is used where it is installed."""
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
        (dog / "IMG_1.HEIC").write_bytes(encoded("HEIF", "blue", quality=100))
        pixel = load_concept(dog).decode()[0].getpixel((5, 5))
        assert pixel[2] > 200
        assert pixel[0] < 50
        return
    calls = []
    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=lambda: calls.append(1)))
    image_files.register_heif.cache_clear()
    (dog / "IMG_1").write_bytes(HEIC)
    assert image_files.register_heif()
    assert calls == [1]
    image_files.register_heif.cache_clear()


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, OverflowError, AssertionError, zlib.error])
def test_whatever_pillow_raises_at_a_file_is_a_line(dog, monkeypatch, error):
    """Its readers of AVIF and DDS raise the first two at a few changed bytes."""

    def fail(*arguments, **options):
        raise error("no such pixels")

    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(InvalidInput, match="damaged or cut off"):
        load_concept(dog)
    monkeypatch.setattr(Image, "open", fail)
    assert image_files.content_of(dog / "a.png").is_usable
    with pytest.raises(InvalidInput, match="damaged or cut off"):
        load_concept(dog)


def test_an_unknown_kind_of_dds_is_a_line(dog):
    content = bytearray(encoded("DDS"))
    content[80:84] = (128).to_bytes(4, "little")  # flags of the pixels' format
    (dog / "b.dds").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"b\.dds is damaged"):
        load_concept(dog)


def test_files_that_cannot_be_opened(dog):
    os.symlink(dog / "gone.jpg", dog / "b.jpg")
    os.mkfifo(dog / "c.jpg")  # opening it would wait for ever
    assert load_concept(dog).unused == ("b.jpg (a link to nothing)", "c.jpg")


@pytest.mark.parametrize(("form", "suffix"), [("GIF", "gif"), ("TIFF", "tif"), ("WEBP", "webp"), ("PNG", "png")])
def test_frames_and_pages_after_the_first_are_named(dog, form, suffix):
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("red", "green", "blue")]
    frames[0].save(dog / f"b.{suffix}", form, save_all=True, append_images=frames[1:])
    concept = load_concept(dog)
    assert concept.unused == (f"2 of 3 frames of b.{suffix}",)
    assert concept.decode()[1].getpixel((5, 5))[0] > 240


def test_previews_behind_a_jpeg_are_not_missed(dog):
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("red", "green")]
    frames[0].save(dog / "b.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert load_concept(dog).unused == ()


# Layouts


def put(folder, *files):
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(encoded())


@pytest.mark.parametrize("preview", ["preview.png", "preview", "IMG_1.HEIC"])
def test_images_beside_folders_of_images_may_be_two_things(tmp_path, without_heif, preview):
    put(tmp_path, "cat/1.png", "dog/deep/2.png", preview)
    if preview == "IMG_1.HEIC":
        (tmp_path / preview).write_bytes(HEIC)
    with pytest.raises(
        InvalidInput, match=rf"holds images \({preview}.*as well as folders of images \(cat, dog\): move"
    ):
        load_concepts(tmp_path)


@pytest.mark.parametrize("mark", ["mlflow.db", "recordings/dog-0a/status.json", "live/dog-0a/status.json"])
def test_the_storage_of_runs_is_no_concept(tmp_path, mark):
    """Both layouts are often used from inside, and the storage is made there."""
    put(tmp_path / "one", "1.png", "dvar-runs/landscape.png", f"dvar-runs/{mark}")
    put(tmp_path / "many", "cat/1.png", "dog/1.png", "dvar-runs/landscape.png", f"dvar-runs/{mark}")
    (concept,) = load_concepts(tmp_path / "one")
    assert concept.unused == ("dvar-runs/ (runs)",)
    assert [concept.name for concept in load_concepts(tmp_path / "many")] == ["cat", "dog"]


def test_a_concept_yaml_says_that_the_images_are_a_concept(tmp_path):
    put(tmp_path, "1.png", "more/2.png")
    (tmp_path / "concept.yaml").touch()
    (concept,) = load_concepts(tmp_path)
    assert (names(concept), concept.unused) == (["1.png"], ("more/",))


def test_a_concept_yaml_without_images_beside_it_is_not_left_out(tmp_path):
    put(tmp_path / "dog" / "images", "a.png")
    (tmp_path / "dog" / "concept.yaml").write_text("class_noun: dog\n")
    with pytest.raises(InvalidInput, match=r"its folders do \(images\); move .* or remove its concept.yaml"):
        load_concepts(tmp_path / "dog")


def test_folders_without_images_do_not_make_a_layout_ambiguous(tmp_path):
    put(tmp_path, "1.png")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no image")
    (tmp_path / "__MACOSX").mkdir()
    (concept,) = load_concepts(tmp_path)
    assert (names(concept), concept.unused) == (["1.png"], ("notes/",))


def test_a_pdf_or_a_video_beside_concept_folders_is_no_image(tmp_path):
    put(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "clip.mp4").write_bytes(MP4)
    (tmp_path / "order.pdf").write_bytes(b"%PDF-1.4")
    assert [concept.name for concept in load_concepts(tmp_path)] == ["cat", "dog"]


def test_images_in_folders_of_a_concept_are_asked_for(tmp_path):
    put(tmp_path, "cat/1.png", "dog/front/1.png", "dog/back/2.png")
    with pytest.raises(InvalidInput, match=r"dog holds no images itself, but its folders do \(back, front\); move"):
        load_concepts(tmp_path)


def test_the_order_of_images_does_not_depend_on_the_form_of_their_names(tmp_path):
    for form in ("NFC", "NFD"):
        for name, colour in (("é.png", "red"), ("z.png", "blue"), ("e.png", "green")):
            path = tmp_path / form / "dog" / unicodedata.normalize(form, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(colour=colour))
    assert load_concept(tmp_path / "NFC" / "dog").identity == load_concept(tmp_path / "NFD" / "dog").identity


# Names


@pytest.mark.parametrize("name", ["café", "Ångström", "강아지", "ñandú_2"])
def test_composed_and_decomposed_names_are_one_concept(tmp_path, name):
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert composed != decomposed
    put(tmp_path / "mac", f"{decomposed}/1.png")
    put(tmp_path / "linux", f"{composed}/1.png")
    (mac,), (linux,) = load_concepts(tmp_path / "mac"), load_concepts(tmp_path / "linux")
    assert mac.identity == linux.identity
    assert mac.name == composed
    put(tmp_path / "both", f"{decomposed}/1.png", f"{composed}/2.png")
    with pytest.raises(InvalidInput, match="two concepts are called"):
        load_concepts(tmp_path / "both")


def test_a_linked_concept_is_called_as_the_link(tmp_path, monkeypatch):
    put(tmp_path / "disk", "DSC-2024-export/1.png")
    (tmp_path / "concepts").mkdir()
    (tmp_path / "concepts" / "dog").symlink_to(tmp_path / "disk" / "DSC-2024-export")
    (tmp_path / "concepts" / "cat").symlink_to(tmp_path / "disk" / "DSC-2024-export")
    linked = load_concepts(tmp_path / "concepts")
    assert [(concept.name, concept.class_noun) for concept in linked] == [("cat", "cat"), ("dog", "dog")]
    monkeypatch.chdir(tmp_path / "disk" / "DSC-2024-export")
    from pathlib import Path

    for here in (Path(), Path("../DSC-2024-export/"), Path("../DSC-2024-export/../DSC-2024-export")):
        assert load_concept(here).name == "DSC-2024-export"


@pytest.mark.parametrize(
    ("name", "noun"),
    [
        ("my_dog_photos", "dog"),
        ("MyDogPhotos", "dog"),
        ("Pictures of my cat 2", "cat"),
        ("photos", "object"),
        ("IMG_2024", "object"),
        ("teapot-jpg", "teapot"),
        ("dog (1)", "dog"),
        # As before: what can be a noun stays one.
        ("toy_train", "train"),
        ("tea_set", "set"),
        ("RedBall", "redball"),
        ("duck_toy", "toy"),
    ],
)
def test_nouns_guessed_from_names(name, noun):
    assert class_noun_for(name) == noun


# Pixels


def greys(values, dtype):
    return Image.fromarray(np.array([values], dtype=dtype))


def levels(image):
    return [pixel[0] for pixel in np.asarray(to_rgb(image))[0].tolist()]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (greys([0, 25700, 65535], np.uint16), [0, 100, 255]),
        (greys([5, 25700, 30000], np.uint16), [0, 100, 117]),  # a dim photograph stays dim
        (greys([0, 2048, 4095], np.uint16), [0, 128, 255]),  # twelve bits
        (greys([0, 100, 255], np.uint16), [0, 100, 255]),
        (greys([0, 100, 255], np.int32), [0, 100, 255]),
        (greys([0, 25700, 65535], np.int32), [0, 100, 255]),
        (greys([0, 2**30, 2**31 - 1], np.int32), [0, 127, 255]),
        (greys([-100, 0, 100], np.int32), [0, 127, 255]),
        (greys([0, 0.5, 1], np.float32), [0, 127, 255]),
        (greys([0, 100, 255], np.float32), [0, 100, 255]),
        (greys([0.0, 25700.0, 65535.0], np.float32), [0, 100, 255]),
        (greys([-1, 0, 1], np.float32), [0, 127, 255]),
        (greys([np.nan, 0.5, np.inf, -np.inf, 1], np.float32), [127, 127, 255, 127, 255]),
        (greys([np.nan, np.nan], np.float32), [0, 0]),
        (greys([-7, -7], np.int32), [0, 0]),
    ],
)  # fmt: skip
def test_wide_greys_are_scaled(image, expected):
    assert levels(image) == expected


def test_wide_greys_are_scaled_in_bands(monkeypatch):
    """All at once they took 40 bytes per pixel: 5 GB for what a PNG of 280 KB can hold."""
    ramp = np.tile(np.linspace(0, 65535, 1500).astype(np.uint16), (1500, 1))
    ramp[700] = 40_000
    whole = np.asarray(to_rgb(Image.fromarray(ramp)))
    monkeypatch.setattr(pixels, "_BAND", 10_000)
    tracemalloc.start()
    banded = to_rgb(Image.fromarray(ramp))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * ramp.size
    assert np.array_equal(np.asarray(banded), whole)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "RGB", "L"])
def test_bands_of_a_transparent_image_show_what_the_whole_shows(mode, monkeypatch):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (31, 23, 4), dtype=np.uint8), "RGBA")
    image = image if mode == "RGBA" else image.convert("RGB").quantize(9) if mode == "P" else image.convert(mode)
    if not image.has_transparency_data:
        image.info["transparency"] = {"P": 3, "L": 77, "RGB": image.getpixel((5, 5))}[mode]
    whole = image.convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    monkeypatch.setattr(pixels, "_BAND", 100)
    assert to_rgb(image).tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_wide_greys_in_tiff_files(dog, dtype):
    ramp = np.linspace(0, 1 if dtype is np.float32 else 65535, 256).astype(dtype)
    Image.fromarray(np.tile(ramp, (16, 1))).save(dog / "b.tif")
    row = np.asarray(load_concept(dog).decode()[1])[0, :, 0].astype(int)
    assert np.abs(row - np.arange(256)).max() <= 1


@pytest.mark.parametrize(
    ("image", "is_marked"),
    [
        (greys([0, 25700, 65535], np.uint16), False),  # as ever
        (greys([0, 2048, 4095], np.uint16), True),
        (greys([0, 100, 255], np.uint16), True),
        (greys([0, 25700, 65535], np.int32), True),
        (greys([0, 0.5, 1], np.float32), True),
        (Image.new("L", (3, 1), 7), False),
        (Image.new("RGBA", (3, 1)), False),
    ],
)
def test_only_an_image_that_shows_otherwise_than_in_earlier_versions_gets_another_identity(image, is_marked):
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    file = ConceptImage("a", buffer.getvalue())
    assert file.identity == f"{file.sha256} rescaled" if is_marked else file.sha256
    assert Concept("dog", "dog", "<dog>", (file,)).identity["images"] == [file.identity]


def test_what_a_folder_holds(dog):
    (dog / "b.jpg").write_bytes(b"just text")
    contents = read_contents(dog)
    assert [path.name for path in contents.images] == ["a.png", "b.jpg"]  # named like one: decoding says it is none
    with pytest.raises(InvalidInput, match=r"b\.jpg is not an image that Pillow can read"):
        load_concept(dog)
