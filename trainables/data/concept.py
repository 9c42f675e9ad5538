"""Concept: the few images of an object, its class noun and its placeholder."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from trainables import plain_yaml
from trainables.data.concept_image import ConceptImage
from trainables.data.folders import SETTINGS_FILE, FolderContents, holds_images, listed, read_contents
from trainables.data.prompts import has_one_gap
from trainables.errors import InvalidInput
from trainables.text import composed, did_you_mean, is_printable, printable, quoted
from trainables.types import JsonDict, JsonObject

#: Limits of concept.yaml that only a mistake exceeds: characters of a text, and validation prompts, all of them drawn.
MAX_TEXT, MAX_PROMPTS = 500, 200
SETTINGS = ("name", "class_noun", "placeholder", "validation_prompts")
VALIDATION_PROMPTS = ("a {} on the beach", "a {} in the snow", "a {} on a wooden table", "a {} next to a tree")
#: Words of folders' names that say whose images they are, or that they are images, rather than what is on them.
NO_NOUNS = frozenset(
    {
        "a", "an", "the", "my", "our", "your", "of", "in", "on", "at", "from", "for", "with", "and", "new", "old",
        "final", "copy", "test", "photo", "photos", "foto", "fotos", "pic", "pics", "picture", "pictures", "img",
        "imgs", "image", "images", "snapshot", "snapshots", "jpg", "jpeg", "png", "heic", "data", "dataset",
        "training", "examples", "samples", "instance", "concept",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Concept:
    """An object to learn.

    Attributes:
        name: what tables and folders call it; no path separators.
        class_noun: the common word for it ("dog"), which initialises or accompanies the placeholder.
        placeholder: the new word that comes to mean the concept ("<my-dog>").
        images: at least 1.
        validation_prompts: prompts of new contexts, each with exactly 1 `{}` for the placeholder.
        held_out: images of it that are never trained on.
        unused: what lies beside the images and is not used, with the reason if there is one; no part of the identity.
    """

    name: str
    class_noun: str
    placeholder: str
    images: tuple[ConceptImage, ...]
    validation_prompts: tuple[str, ...] = VALIDATION_PROMPTS
    held_out: tuple[ConceptImage, ...] = ()
    unused: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Check that the concept can be trained, and that its name can be used in paths.

        Raises:
            InvalidInput: a field is unusable; the message names it.
        """
        check_name(self.name)
        if not self.images:
            raise InvalidInput(f"concept {self.name!r} has no images; give it at least one")
        if not self.class_noun.strip():
            raise InvalidInput(f"concept {self.name!r} has an empty class noun; name what it is, such as 'dog'")
        if not re.fullmatch(r"\S+", self.placeholder):
            raise InvalidInput(f"placeholder {self.placeholder!r} of concept {self.name!r} must be one word")
        for prompt in self.validation_prompts:
            if not has_one_gap(prompt):
                raise InvalidInput(
                    f"validation prompt {quoted(prompt)} of concept {self.name!r} needs exactly one {{}}"
                )

    @property
    def identity(self) -> JsonDict:
        """What distinguishes this concept from every other, as plain JSON."""
        held_out = {"held_out": [image.identity for image in self.held_out]} if self.held_out else {}
        return held_out | {
            "name": self.name,
            "class_noun": self.class_noun,
            "placeholder": self.placeholder,
            "images": [image.identity for image in self.images],
            "validation_prompts": list(self.validation_prompts),
        }

    @property
    def summary(self) -> str:
        """A line on what is learned from the concept's folder, and what is not."""
        count = f"{len(self.images)} image{'' if len(self.images) == 1 else 's'}"
        count += f" and {len(self.held_out)} held out" if self.held_out else ""
        unused = f"; not used: {listed(self.unused)}" if self.unused else ""
        return printable(f"{self.name}: {count}, noun {self.class_noun!r}, {self.placeholder}{unused}")

    def decode(self) -> list[Image.Image]:
        """Return every image as RGB; see `ConceptImage.decode`."""
        return [image.decode() for image in self.images]

    def decode_held_out(self) -> list[Image.Image]:
        """Return every held-out image as RGB; see `ConceptImage.decode`."""
        return [image.decode() for image in self.held_out]

    def holding_out(self, count: int, views: Sequence[ConceptImage] = ()) -> "Concept":
        """Return the concept without its last `count` images, which are held out together with further views.

        Raises:
            InvalidInput: no image would be left to train on, or a view is one that is trained on.
        """
        if count >= len(self.images):
            has = f"{len(self.images)} image{'' if len(self.images) == 1 else 's'}"
            raise InvalidInput(
                f"concept {self.name!r} has {has}, so {count} cannot be held out: none would be left to train on; give "
                "it more images, lower held_out.images, or give further views in held_out.source"
            )
        kept = self.images[: len(self.images) - count]
        trained = {image.sha256: image.name for image in kept}
        for view in views:
            if view.sha256 in trained:
                raise InvalidInput(
                    f"{view.name} is meant to be held out, but concept {self.name!r} is trained on it "
                    f"({trained[view.sha256]}); remove either"
                )
        return replace(self, images=kept, held_out=(*self.images[len(kept) :], *views))


def check_name(name: str) -> str:
    """Return the name of a concept, wherever it comes from, if it can be used in paths and on a terminal.

    Raises:
        InvalidInput: it cannot.
    """
    bad = not name or name != name.strip() or name.startswith(".") or re.search(r"[/\\]", name)
    if bad or len(name) > 100 or not is_printable(name):
        raise InvalidInput(
            f"concept name {quoted(name)} cannot be used: at most 100 characters, no '/', '\\' or control characters, "
            "no dot or space at the start"
        )
    return name


def concept_from_images(name: str, class_noun: str, images: Sequence[Image.Image]) -> Concept:
    """Make a concept from images in memory, kept as PNG."""
    return Concept(name, class_noun, placeholder_for(name), tuple(_as_png(i, image) for i, image in enumerate(images)))


def _as_png(index: int, image: Image.Image) -> ConceptImage:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return ConceptImage(f"{index:02d}.png", buffer.getvalue())


def placeholder_for(name: str) -> str:
    """Return the placeholder of a concept that sets none: `duck_toy` becomes `<duck-toy>`."""
    word = re.sub(r"[^\w]+|_", "-", name.lower()).strip("-")
    return f"<{word or 'concept'}>"


def class_noun_for(name: str) -> str:
    """Guess the class noun from a folder's name: its last word that can be one, without digits, else "object".

    Example:
        >>> class_noun_for("dog6"), class_noun_for("my_dog_photos"), class_noun_for("2024")
        ('dog', 'dog', 'object')
    """
    words = _words(name)
    if (apart := _words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))) and apart[-1] in NO_NOUNS:
        words = apart  # "MyDogPhotos"; any other name with capitals inside stays the word that it is
    return next((word for word in reversed(words) if word not in NO_NOUNS), "object")


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W\d_]+", name.lower()) if word]


def load_concept(folder: Path) -> Concept:
    """Read a concept from a folder of images and an optional `concept.yaml`.

    `concept.yaml` may set `name`, `class_noun`, `placeholder` and `validation_prompts`; what it leaves out comes
    from the folder's own name, that of a link rather than of its target. Every image is decoded once, so that a
    damaged file is reported before anything trains.

    Raises:
        InvalidInput: there is no image, an image is unusable, or `concept.yaml` is not understood.
    """
    return _concept(folder, read_contents(folder))


def _concept(folder: Path, contents: FolderContents) -> Concept:
    if not contents.images:
        raise InvalidInput(_no_images(folder, contents))
    settings = _read_settings(folder / SETTINGS_FILE)
    own_name = folder.resolve().name if folder.name in ("", "..") else folder.name
    name = composed(settings.get("name", own_name))
    images = tuple(_read_image(file) for file in contents.images)
    for image in images:
        image.decode()
    later = [(file.name, image.later_frames()) for file, image in zip(contents.images, images, strict=True)]
    frames = tuple(f"{count} of {count + 1} frames of {name}" for name, count in later if count)
    return Concept(
        name=name,
        class_noun=settings.get("class_noun", class_noun_for(name)),
        placeholder=settings.get("placeholder", placeholder_for(name)),
        images=images,
        validation_prompts=tuple(settings.get("validation_prompts", VALIDATION_PROMPTS)),
        unused=(*frames, *contents.unused),
    )


def _read_image(file: Path) -> ConceptImage:
    try:
        return ConceptImage(str(file), file.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read ({error.strerror}); fix it or remove it") from error


def _no_images(folder: Path, contents: FolderContents) -> str:
    if contents.unread:
        return f"{folder} holds no images that can be read: {listed(contents.unread)}"
    if inside := [path for path in contents.folders if holds_images(path)]:
        names = listed(tuple(path.name for path in inside))
        other = f", or remove its {SETTINGS_FILE} if each folder is a concept" if contents.is_declared else ""
        what = f"{folder} holds no images itself, but its folders do ({names})"
        return f"{what}; move the images of a concept into it{other}"
    beside = f" (only {listed(contents.unused)})" if contents.unused else ""
    return f"{folder} holds no images{beside}; put at least one in it (any format that Pillow reads)"


def load_concepts(folder: Path) -> list[Concept]:
    """Read a folder of concept folders, or a single concept folder, sorted by name.

    Raises:
        InvalidInput: the folder does not exist or is empty, it holds images as well as folders of images, two concepts
            share a name, or concepts are unusable; all problems are listed at once.
    """
    if not folder.is_dir():
        raise InvalidInput(f"concepts folder {folder} does not exist or is not a folder")
    contents = read_contents(folder)
    if contents.has_images:
        _check_one_reading(folder, contents)
    if contents.has_images or contents.is_declared or not contents.folders:
        return [_concept(folder, contents)]
    concepts, problems = [], []
    for path in contents.folders:
        try:
            concepts.append(load_concept(path))
        except InvalidInput as error:
            problems.append(str(error))
    if problems:
        raise InvalidInput("\n".join(problems))
    return checked_unique(concepts)


def _check_one_reading(folder: Path, contents: FolderContents) -> None:
    """Refuse images beside folders of images: they may be previews of several concepts, or a concept themselves.

    Raises:
        InvalidInput: both readings are possible, and no concept.yaml says that the folder is a concept.
    """
    inside = () if contents.is_declared else tuple(path.name for path in contents.folders if holds_images(path))
    if inside:
        images = listed((*(path.name for path in contents.images), *contents.unread))
        raise InvalidInput(
            f"{folder} holds images ({images}) as well as folders of images ({listed(inside)}): move the images "
            "elsewhere if each folder is a concept, or the folders if the images are one; an empty concept.yaml beside "
            "the images also says that they are one"
        )


def checked_unique(concepts: Sequence[Concept]) -> list[Concept]:
    """Return the concepts as a list, or raise InvalidInput when two share a name."""
    seen: set[str] = set()
    for concept in concepts:
        if concept.name in seen:
            raise InvalidInput(f"two concepts are called {concept.name!r}; rename either (folder name or concept.yaml)")
        seen.add(concept.name)
    return list(concepts)


def write_concept(concept: Concept, folder: Path) -> None:
    """Write a concept as `folder`/name with its image files and a `concept.yaml`, which `load_concept` reads.

    Raises:
        InvalidInput: that folder exists already.
    """
    target = folder / concept.name
    if target.exists():
        raise InvalidInput(f"{target} exists already; remove it, or write to another folder")
    target.mkdir(parents=True)
    for image in concept.images:
        (target / Path(image.name).name).write_bytes(image.data)
    settings = {
        "class_noun": concept.class_noun,
        "placeholder": concept.placeholder,
        "validation_prompts": list(concept.validation_prompts),
    }
    (target / SETTINGS_FILE).write_text(plain_yaml.dump(settings), encoding="utf-8")


def _read_settings(path: Path) -> JsonObject:
    try:
        settings = plain_yaml.read(path)
    except FileNotFoundError:
        return {}
    except InvalidInput as error:
        raise InvalidInput(f"{path} is not understood: {error}") from error
    if settings is None:  # nothing but comments
        return {}
    if not isinstance(settings, dict):
        raise InvalidInput(f"{path} must hold settings such as 'class_noun: dog', got {quoted(settings)}")
    for key, value in settings.items():
        _check_setting(path, str(key), value)
    return settings


def _check_setting(path: Path, key: str, value: object) -> None:
    if key not in SETTINGS:
        raise InvalidInput(f"{path}: unknown setting {quoted(key)}; {did_you_mean(key, SETTINGS)}")
    if key == "validation_prompts":
        if not isinstance(value, list) or not all(isinstance(prompt, str) for prompt in value):
            raise InvalidInput(f"{path}: validation_prompts must be a list of texts, got {quoted(value)}")
        if len(value) > MAX_PROMPTS:
            raise InvalidInput(
                f"{path}: validation_prompts has {len(value)} prompts, at most {MAX_PROMPTS} can be drawn"
            )
    elif not isinstance(value, str):
        raise InvalidInput(f"{path}: {key} must be text, got {quoted(value)}")
    for text in value if isinstance(value, list) else [value]:
        if len(text) > MAX_TEXT or not is_printable(text):
            raise InvalidInput(
                f"{path}: {key} must be a line of at most {MAX_TEXT} characters without invisible ones, "
                f"got {quoted(text)}"
            )
