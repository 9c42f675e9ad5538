"""Captions of an object's images, from which a personalization draws."""

import string

_KINDS = ("photo", "rendition", "picture")
_QUALITIES = ("", "good ", "cropped ", "close-up ", "bright ", "dark ", "clean ")
_ARTICLES = ("a", "the", "my")

#: Neutral captions of an object, where `{}` stands for the placeholder: combinations of quality, kind and article, in
#: our own words, and as many as the paper's authors used: 57. diffusers' example has 27: `OBJECT_TEMPLATES[:27]`.
OBJECT_TEMPLATES = tuple(
    f"a {quality}{kind} of {article} {{}}" for quality in _QUALITIES for kind in _KINDS for article in _ARTICLES
)[:57]

#: The caption with which samples are drawn to compare them with the concept's images.
SAMPLE_TEMPLATE = OBJECT_TEMPLATES[0]


def has_one_gap(caption: str) -> bool:
    """Whether a caption has exactly one `{}` for the concept, and nothing else that `str.format` would fill or refuse.

    Example:
        >>> has_one_gap("a {} in the snow"), has_one_gap("a {} and a {}"), has_one_gap("a {} of {.size}")
        (True, False, False)
    """
    try:
        gaps = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(caption) if name is not None]
    except ValueError:
        return False
    return gaps == [("", "", None)]
