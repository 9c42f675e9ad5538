"""Pictures of samples: side by side in a sheet, and beside their concepts in a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

MARGIN, GAP, GROUP_GAP = 16, 4, 20
PAPER, INK, FAINT = (255, 255, 255), (30, 30, 36), (110, 110, 120)


def contact_sheet(images: Sequence[Image.Image]) -> Image.Image:
    """Paste images of equal size side by side, into a sheet that `split_sheet` takes apart."""
    width, height = images[0].size
    sheet = Image.new("RGB", (width * len(images), height))
    for index, image in enumerate(images):
        sheet.paste(image, (index * width, 0))
    return sheet


def split_sheet(sheet: Image.Image) -> list[Image.Image]:
    """Return the images of a contact sheet, which must be square."""
    side = sheet.height
    return [sheet.crop((left, 0, left + side, side)) for left in range(0, sheet.width - side + 1, side)]


@dataclass(frozen=True)
class PictureRow:
    """A concept's row in a figure.

    Attributes:
        name: text at the left; lines are separated by newlines.
        groups: images by the heading below which they stand.
        notes: text below a group, by its heading; a group may have none.
    """

    name: str
    groups: Mapping[str, Sequence[Image.Image]]
    notes: Mapping[str, str]


def figure(rows: Sequence[PictureRow], columns: Mapping[str, int], cell: int = 96) -> Image.Image:
    """Draw concepts in rows and groups of images in columns.

    Args:
        rows: not empty.
        columns: headings, and the largest number of images that a group below each shows.
        cell: side of an image in pixels.
    """
    name_width = 8 + max(int(_font(15).getlength(line)) for row in rows for line in row.name.split("\n"))
    widths = {heading: count * (cell + GAP) - GAP for heading, count in columns.items()}
    noted = 18 if any(row.notes for row in rows) else 0
    width = 2 * MARGIN + name_width + sum(GROUP_GAP + group for group in widths.values())
    height = 2 * MARGIN + 26 + len(rows) * (cell + GAP + noted)
    picture = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    for line, row in enumerate(rows):
        top = MARGIN + 26 + line * (cell + GAP + noted)
        draw.multiline_text((MARGIN, top + cell // 2), row.name, INK, _font(15), anchor="lm")
        left = MARGIN + name_width
        for heading, count in columns.items():
            left += GROUP_GAP
            if line == 0:
                draw.text((left, MARGIN), heading, INK, _font(15))
            for index, image in enumerate(row.groups.get(heading, ())[:count]):
                picture.paste(_scaled(image, cell), (left + index * (cell + GAP), top))
            draw.text((left, top + cell + 2), row.notes.get(heading, ""), FAINT, _font(12))
            left += widths[heading]
    return picture


def _scaled(image: Image.Image, side: int) -> Image.Image:
    return image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
