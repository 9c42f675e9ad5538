"""Figures of samples: a sheet comes apart as it was put together, a figure shows every image once."""

from PIL import Image

from trainables.quality.pictures import PictureRow, contact_sheet, figure, split_sheet


def squares(*colours):
    return [Image.new("RGB", (8, 8), colour) for colour in colours]


def test_a_sheet_comes_apart_as_it_was_put_together():
    images = squares("red", "green", "blue")
    parts = split_sheet(contact_sheet(images))
    assert [part.getpixel((3, 3)) for part in parts] == [image.getpixel((3, 3)) for image in images]


def test_a_figure_shows_each_group_up_to_its_width():
    rows = [PictureRow("mug", {"left": squares("red", "red", "red"), "right": squares("blue")}, {"left": "step 7"})]
    picture = figure(rows, {"left": 2, "right": 2}, cell=10)
    counts = {colour: count for count, colour in picture.getcolors(1 << 16)}
    assert counts[(255, 0, 0)] == 200
    assert counts[(0, 0, 255)] == 100


def test_a_group_may_be_missing():
    assert figure([PictureRow("mug", {}, {})], {"left": 1}).width > 96
