"""The landscape's page: the landscape's own numbers, in one file that asks for nothing and runs nothing foreign."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from orchestrator.replay.landscape import Landscape, survey
from orchestrator.report.html.landscape import write_landscape_page

MEASURE = "train_clip_image"
VOID = {"meta", "link", "input", "br", "img"}
HOSTILE = '</script><script>alert(1)</script><!-- & "q" \'@@data@@'


class Page(HTMLParser):
    """What a browser would see: elements in order, the text of some, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.scripts, self._open = [], [], {}, [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()} closes another element"

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data

    @property
    def numbers(self):
        return json.loads(self.scripts[0])


@pytest.fixture
def landscape(make_recording):
    return survey([make_recording(name, 300, rate=20 + 10 * i, seed=i) for i, name in enumerate("ab")], MEASURE)


@pytest.fixture
def write(tmp_path):
    """Write a page and return its text."""

    def write(landscape, *, target=0.9, default=(15, 0.15), chosen=(60, 0.5), title="DVAR", command="dvar run"):
        path = tmp_path / "landscape.html"
        marks = {"target": target, "default": default, "chosen": chosen, "title": title, "command": command}
        write_landscape_page(landscape, path, **marks)
        return path.read_text(encoding="utf-8")

    return write


def test_the_numbers_are_the_landscape_s(landscape, write):
    # NumPy's own numbers, as a study's settings may have them.
    numbers = Page(write(landscape, target=0.925, default=(np.int64(15), np.float64(0.15)))).numbers
    assert numbers["windows"] == landscape.windows.tolist()
    assert numbers["thresholds"] == [round(0.01 * (i + 1), 2) for i in range(95)]
    assert np.array(numbers["iterations"]) == pytest.approx(landscape.iterations, abs=6e-4)
    assert np.array(numbers["quality_kept"]) == pytest.approx(landscape.quality_kept, abs=1.1e-6)
    assert (numbers["budget"], numbers["metric"], numbers["target_quality"]) == (300, MEASURE, 0.925)
    assert numbers["default"] == {"window": 15, "threshold": 0.15}
    assert numbers["chosen"] == {"window": 60, "threshold": 0.5}


def test_the_front_holds_what_none_beats_from_the_fewest_steps_on(write):
    steps = np.array([[90.0, 50.0, 30.0], [80.0, 60.0, 20.0]])
    kept = np.array([[1.0, 0.65, 0.7], [0.95, 0.9, 0.5]])  # 50 steps keep less than 30
    landscape = Landscape(np.array([10, 20]), np.array([0.2, 0.5, 0.8]), steps, kept, 100, MEASURE)
    assert Page(write(landscape)).numbers["front"] == [[1, 2], [0, 2], [1, 1], [1, 0], [0, 0]]


def test_another_criterion_was_chosen(landscape, write):
    assert Page(write(landscape, chosen=None)).numbers["chosen"] is None


@pytest.mark.parametrize(
    ("kept", "shown"),
    [(0.9, 0.9), (0.9 - 1e-15, 0.9), (0.29, 0.29), (0.8999999, 0.899999), (1.0, 1.0), (2 / 3, 0.666666)],
)
def test_rounding_lets_nothing_keep_more_than_it_does(kept, shown, write):
    landscape = Landscape(np.array([10]), np.array([0.5]), np.array([[7.0]]), np.array([[kept]]), 20, MEASURE)
    assert Page(write(landscape)).numbers["quality_kept"] == [[shown]]


def test_a_foreign_text_stays_text(landscape, write):
    plain = Page(write(landscape))
    page = Page(write(replace(landscape, metric=HOSTILE), title=HOSTILE, command=HOSTILE))
    assert (page.tags, page.scripts[1:]) == (plain.tags, plain.scripts[1:])
    assert page.texts["title"] == page.texts["h1"] == HOSTILE
    assert page.numbers["metric"] == HOSTILE
    # Either would change how a browser reads the rest of a script element.
    assert "<" not in page.scripts[0]
    assert plain.numbers | {"metric": HOSTILE, "command": HOSTILE} == page.numbers


def test_every_place_is_filled_and_every_name_is_there(landscape, write):
    text = write(landscape)
    page = Page(text)
    assert "@@" not in text
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'byId\("([\w-]+)"\)|getElementById\("([\w-]+)"\)', page.scripts[1]))
    assert len(used) > 10
    assert {selector or other for selector, other in used} <= set(ids)
    assert {value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")} <= set(ids)


def test_nothing_is_fetched(landscape, write):
    text = write(landscape)
    page = Page(text)
    policy = [value for tag, name, value in page.attributes if tag == "meta" and name == "content"]
    assert any("default-src 'none'" in value for value in policy)
    links = [value for _, name, value in page.attributes if name in ("src", "href", "action", "srcset")]
    assert all(value.startswith(("#", "data:")) for value in links)
    assert not re.search(r"https?:|//\w|url\((?!#)|@import|\bimport\b|fetch\(|XMLHttp|WebSocket", text)


def test_a_value_that_is_not_finite_is_refused(landscape, write):
    landscape.quality_kept[0, 0] = np.nan
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(landscape)
