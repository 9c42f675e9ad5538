"""Concepts from folders: what is read, what is guessed, and what is refused."""

import struct
import zlib

import pytest
from PIL import Image

from trainables.data.concept import Concept, class_noun_for, load_concept, load_concepts, placeholder_for
from trainables.data.concept_image import ConceptImage
from trainables.errors import InvalidInput


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "red_dog6"
    path.mkdir()
    Image.new("RGB", (40, 30), "red").save(path / "a.jpg")
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and is cut off after a few bytes of its pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1000) + b"IDAT" + zlib.compress(b"\0" * 1000)


def test_a_folder_alone_gives_noun_and_placeholder(folder):
    concept = load_concept(folder)
    assert (concept.name, concept.class_noun, concept.placeholder) == ("red_dog6", "dog", "<red-dog6>")
    assert len(concept.images) == 1


def test_concept_yaml_overrides_the_guesses(folder):
    (folder / "concept.yaml").write_text("name: Rex\nclass_noun: puppy\nplaceholder: <rex>\n")
    concept = load_concept(folder)
    assert (concept.name, concept.class_noun, concept.placeholder) == ("Rex", "puppy", "<rex>")


@pytest.mark.parametrize(
    ("name", "noun", "placeholder"),
    [
        ("dog", "dog", "<dog>"),
        ("duck_toy", "toy", "<duck-toy>"),
        ("My Cat 2", "cat", "<my-cat-2>"),
        ("0042", "object", "<0042>"),
        ("chat-été", "été", "<chat-été>"),
    ],
)
def test_guesses_from_names(name, noun, placeholder):
    assert (class_noun_for(name), placeholder_for(name)) == (noun, placeholder)


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (4, 2), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "a.jpg", exif=exif)
    assert load_concept(tmp_path).decode()[0].size == (2, 4)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tiff", "ppm"])
def test_formats(tmp_path, suffix):
    Image.new("RGB", (9, 7), "blue").save(tmp_path / f"a.{suffix}")
    decoded = load_concept(tmp_path).decode()[0]
    assert (decoded.mode, decoded.size) == ("RGB", (9, 7))


def test_transparency_becomes_white_and_16_bits_are_scaled(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "a.png")
    Image.new("I;16", (2, 2), 65535 // 2).save(tmp_path / "b.png")
    clear, grey = load_concept(tmp_path).decode()
    assert clear.getpixel((0, 0)) == (255, 255, 255)
    assert abs(grey.getpixel((0, 0))[0] - 127) <= 1


def test_other_files_are_left_alone(folder):
    (folder / "README.md").write_text("notes")
    (folder / ".hidden.png").write_text("not an image")
    assert len(load_concept(folder).images) == 1


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("b.png", b"just text", "not an image that Pillow can read"),
        ("b.png", png_header(40_000, 40_000), "too large"),
        ("b.png", png_header(13_000, 12_000), "13000 x 12000 pixels"),
        ("b.png", png_header(8_000, 6_000), "claims 8000 x 6000 pixels"),
        ("b.gif", b"GIF87a\x00\x10\x00\x80\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;", "claims"),
        ("b.png", png_header(100, 100), "damaged or cut off"),
        ("concept.yaml", b"class_nuon: dog", "did you mean 'class_noun'"),
        ("concept.yaml", b"name: ../evil", "'../evil'"),
        ("concept.yaml", b"- 1", "must hold settings"),
        ("concept.yaml", b"class_noun: 3", "class_noun must be text, got 3"),
        ("concept.yaml", b"{", "is not understood"),
        ("concept.yaml", b"placeholder: two words", "must be one word"),
        ("concept.yaml", b"validation_prompts: [on the beach]", "exactly one {}"),
        ("concept.yaml", b"validation_prompts: ['{.size} {}']", "exactly one {}"),
        ("concept.yaml", b"validation_prompts: ['{[0]} {}']", "exactly one {}"),
        ("concept.yaml", b"validation_prompts: ['{:999999999} {}']", "exactly one {}"),
        ("concept.yaml", b"validation_prompts: ['{} {']", "exactly one {}"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unusable_files_are_named(folder, file, content, message):
    (folder / file).write_bytes(content)
    with pytest.raises(InvalidInput, match=message.replace("{", r"\{").replace("(", r"\(")):
        load_concept(folder)


def test_a_truncated_jpeg_is_refused(folder):
    whole = (folder / "a.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match=r"a\.jpg is damaged or cut off"):
        load_concept(folder)


def test_no_images(tmp_path):
    with pytest.raises(InvalidInput, match="holds no images"):
        load_concepts(tmp_path)


def test_all_problems_are_listed_at_once(tmp_path, folder):
    for name in ("cat", "cow"):
        (tmp_path / name).mkdir()
    with pytest.raises(InvalidInput, match=r"(?s)cat holds no images.*cow holds no images"):
        load_concepts(tmp_path)


def test_two_concepts_of_one_name(tmp_path, folder):
    other = tmp_path / "other"
    folder.rename(other)
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (other / "concept.yaml").write_text("name: red_dog6")
    with pytest.raises(InvalidInput, match="two concepts are called 'red_dog6'"):
        load_concepts(tmp_path)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "a\\b", "a\n", " a", "x" * 101])
def test_names_that_could_lead_elsewhere(name):
    image = ConceptImage("a.png", b"")
    with pytest.raises(InvalidInput, match="concept name"):
        Concept(name, "dog", "<x>", (image,))


def test_a_single_concept_folder_is_one_concept(folder):
    assert [concept.name for concept in load_concepts(folder)] == ["red_dog6"]


def test_identity_changes_with_image_bytes(folder):
    before = load_concept(folder).identity
    Image.new("RGB", (40, 30), "blue").save(folder / "a.jpg")
    assert load_concept(folder).identity != before
