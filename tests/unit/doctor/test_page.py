"""The page: well-formed, complete in itself, and no name in it is more than text."""

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panet.doctor.charts import bars
from panet.doctor.page import CROPS, write_page

VOID = {"meta", "img", "br"}
HOSTILE = "<script>alert('1')<b>\"&"


class Checker(HTMLParser):
    """Follows a page; tags must close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.style = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data


def read(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def test_the_page_of_a_clean_set_says_so(planted: Any) -> None:
    checker = read(write_page(planted.examine(), "my set"))
    assert "Nothing found; nothing that training refuses" in checker.text
    assert "img" not in checker.tags
    assert checker.tags.count("svg") == 4


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(planted: Any) -> None:
    planted.annotation()["area"] = 9
    page = write_page(planted.examine(), "my set")
    checker = read(page)
    assert (
        set(checker.tags) & {"script", "link", "iframe", "object", "embed", "form", "base", "audio", "video"} == set()
    )
    for tag, key, value in checker.attributes:
        assert not key.startswith("on"), (tag, key)
        assert key != "style", tag
        if key in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            assert value.startswith(("data:image/jpeg;base64,", "#")), value[:40]
    assert "url(" not in checker.style
    assert "@import" not in checker.style
    assert "http" not in re.sub(r'base64,[^"]*', "", page).replace("http-equiv", "")


def test_its_policy_admits_its_own_style_only(planted: Any) -> None:
    checker = read(write_page(planted.examine(), "my set"))
    policy = next(value for tag, key, value in checker.attributes if key == "content" and "default-src" in value)
    key = base64.b64encode(hashlib.sha256(checker.style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'sha256-{key}'"


def test_names_are_text_whatever_they_hold(planted: Any) -> None:
    for document in planted.documents.values():
        document["categories"][0]["name"] = HOSTILE
    name = f"{HOSTILE}.png"
    planted.path().rename(planted.root / "images" / name)
    planted.picture()["file_name"] = name
    planted.annotation()["area"] = 9
    planted.documents["train"]["annotations"].append({**planted.annotation(), "id": f"{HOSTILE}\u202e\n"})
    planted.documents["train"]["annotations"].append({**planted.annotation(), "id": 901, "category_id": 2})
    planted.annotation(1)["category_id"] = HOSTILE
    page = write_page(planted.examine(), HOSTILE)
    assert "<script" not in page.lower()
    assert "<b>&quot;" not in page
    checker = read(page)
    assert f"annotation 10 in {name}" in checker.text
    assert f"annotation {HOSTILE}\\u202e\\n" in checker.text


def test_a_finding_is_shown_with_why_it_matters_and_what_to_do(planted: Any) -> None:
    planted.annotation()["area"] = 9
    checker = read(write_page(planted.examine(), "my set"))
    for text in (
        "1 warning; nothing that training refuses",
        "train: annotation 10 in 1.png",
        "area 9 px is stored, the mask has 600 px",
        "COCO sorts objects into small, medium and large",
        "recompute the area from the mask",
        "stores the mask's area",
    ):
        assert text in checker.text
    (picture,) = (value for tag, key, value in checker.attributes if (tag, key) == ("img", "src"))
    with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as crop:
        crop.load()
        assert max(crop.size) <= 360


def test_a_picture_of_noise_which_compresses_to_nothing_less_can_be_drawn(planted: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (340, 340, 3), dtype=np.uint8)
    Image.fromarray(noise).save(planted.path())
    planted.picture().update(width=340, height=340)
    whole = {"segmentation": [[0, 0, 340, 0, 340, 340, 0, 340]], "bbox": [0, 0, 340, 340], "area": 9}
    planted.annotation().update(whole)
    checker = read(write_page(planted.examine(), "my set"))
    assert any((tag, key) == ("img", "src") for tag, key, _ in checker.attributes)


@pytest.mark.parametrize("rule", ["size", "duplicate", "copy", "outside", "refused", "crowded", "crossing", "exif"])
def test_findings_of_every_kind_can_be_drawn(planted: Any, rule: str) -> None:
    rows = planted.documents["train"]["annotations"]
    if rule == "size":
        planted.picture().update(width=60, height=90)
    elif rule == "duplicate":
        rows.append({**rows[0], "id": 900})
    elif rule == "copy":
        planted.picture(0, "val")["file_name"] = "1.png"
    elif rule == "outside":
        rows[0].update(segmentation=[[80, 10, 900_000, 10, 95, 30, 80, 30]], bbox=[80, 10, 10, 20], area=200)
    elif rule == "refused":
        rows[0]["segmentation"] = [[500, 500, 600, 500, 600, 600]]
    elif rule == "crowded":
        rows += [{**rows[0], "id": 1000 + i, "iscrowd": 0} for i in range(100)]
    elif rule == "crossing":
        rows[0]["segmentation"] = [[10, 10, 40, 30, 40, 10, 10, 30]]
    else:
        with Image.open(planted.path()) as image:
            exif = image.getexif()
            exif[0x0112] = 6
            image.convert("RGB").save(planted.path(), "JPEG", exif=exif)
    checker = read(write_page(planted.examine(), "my set"))
    assert "img" in checker.tags


def test_the_size_is_bounded_however_much_is_found(planted: Any) -> None:
    rows = planted.documents["train"]["annotations"]
    rows += [{**rows[0], "id": 1000 + i, "area": 1} for i in range(200)]
    page = write_page(planted.examine(), "my set")
    checker = read(page)
    rules = len(re.findall("<section", page))
    assert checker.tags.count("img") <= CROPS * rules
    assert len(re.findall("<li>", page)) <= 51 * rules
    assert "and 150 more, which panet doctor --json lists" in checker.text


def test_the_page_does_not_tell_where_the_data_lie(planted: Any) -> None:
    planted.picture()["file_name"] = "gone.png"
    page = write_page(planted.examine(), "my set")
    assert "gone.png is not in images" in page
    assert str(planted.root) not in page


def test_a_data_set_of_which_nothing_can_be_read_has_a_page(planted: Any) -> None:
    planted.write()
    planted.write = lambda: [(planted.root / f"{name}.json").write_text("{") for name in ("train", "val")]
    checker = read(write_page(planted.examine(), "my set"))
    assert "2 findings are refused" in checker.text


@pytest.mark.parametrize("number", [0, 7, 17_349, 1_234_567])
def test_the_number_behind_the_longest_bar_fits_into_the_picture(number: int) -> None:
    """At 14 px, as on phones, a digit takes 9 of the picture's units."""
    drawn = bars("Class balance", {"nucleus": [("train", number), ("val", number // 3)]})
    width = float(re.findall(r'viewBox="0 0 (\d+) ', drawn)[0])
    starts = [float(x) for x in re.findall(r'x="([\d.]+)" y="[\d.]+" text-anchor="start"', drawn)]
    assert len(starts) == 2
    assert starts[0] + 9 * len(f"{number:,}") <= width
