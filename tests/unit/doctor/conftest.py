"""A small clean data set, to plant one quirk in at a time."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panet.data.formats.source import find_source
from panet.doctor.examine import Diagnosis, examine
from panet.doctor.fit import ModelFit
from panet.doctor.opening import open_part
from panet.doctor.parts import Finding, Part

SIZE = (60, 90)  # height, width
BOXES = ((10, 10, 30, 20), (50, 5, 20, 40), (5, 35, 25, 20))  # x, y, width, height
MODEL = ModelFit("tiny", (8.0, 16.0, 32.0), (0.5, 1.0, 2.0), 60, 90, "modern", 100)


class Planted:
    """A data set on disk: train of 5 pictures, val of 2, each with 6 rectangles of classes 1 and 2."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "images").mkdir(parents=True)
        draw = np.random.default_rng(0)
        self.documents: dict[str, dict[str, Any]] = {}
        number = 0
        for name, num_pictures in (("train", 5), ("val", 2)):
            categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": "seed"}]
            document: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
            for _ in range(num_pictures):
                number += 1
                pixels = draw.integers(0, 256, (6, 9, 3), dtype=np.uint8).repeat(10, axis=0).repeat(10, axis=1)
                Image.fromarray(pixels).save(root / "images" / f"{number}.png")
                row = {"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]}
                document["images"].append(row)
                for turn, box in enumerate(BOXES * 2):
                    document["annotations"].append(rectangle(number * 10 + turn, number, box, 1 + turn % 2, turn >= 3))
            self.documents[name] = document

    def annotation(self, place: int = 0, part: str = "train") -> dict[str, Any]:
        row: dict[str, Any] = self.documents[part]["annotations"][place]
        return row

    def picture(self, place: int = 0, part: str = "train") -> dict[str, Any]:
        row: dict[str, Any] = self.documents[part]["images"][place]
        return row

    def path(self, place: int = 0, part: str = "train") -> Path:
        return self.root / "images" / str(self.picture(place, part)["file_name"])

    def write(self) -> None:
        for name, document in self.documents.items():
            (self.root / f"{name}.json").write_text(json.dumps(document))

    def examine(self, decode: bool = False, model: ModelFit = MODEL) -> Diagnosis:
        self.write()
        source = find_source(self.root)
        opened = [open_part(name, place) for name, place in (("train", source.train), ("val", source.val)) if place]
        parts = [part for part in opened if isinstance(part, Part)]
        unreadable = [finding for part in opened if not isinstance(part, Part) for finding in part]
        return examine(parts, model, decode, unreadable)


def rectangle(
    number: int, image: int, box: tuple[int, int, int, int], category: int = 1, shifted: bool = False
) -> dict[str, Any]:
    x, y, width, height = box
    if shifted:  # to where no other rectangle has its place
        x, y, width, height = x + 2, y + 2, width // 2, height // 2
    polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [polygon],
    }


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    return Planted(tmp_path / "set")


@pytest.fixture
def rules_of() -> Callable[[Iterable[Finding]], dict[str, int]]:
    """Count the findings of each rule."""
    return lambda findings: dict(Counter(finding.problem.rule for finding in findings))
