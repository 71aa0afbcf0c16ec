"""The parts of a data set as the doctor sees them: what was read, and the file's own rows beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panet.data.coco import CocoDataset
from panet.data.images import printable
from panet.data.problems import Problem
from panet.doctor.rules import RULES

__all__ = ["Finding", "Part", "Points"]

Points = NDArray[np.float64]
"""(P, 2) corners x, y in image px."""


@dataclass(frozen=True)
class Finding:
    """A problem, and what of the picture shows it.

    Args:
        problem: the record of it.
        part: "train" or "val"; empty: of the data set as a whole.
        image: the picture's place in the part.
        objects: places of the objects among the picture's.
        outlines: polygons to draw.
        spots: points (x, y) to mark, image px.
        frame: (width, height) as the file states it, where that is the finding.
        twin: part and place of another picture to show beside it.
    """

    problem: Problem
    part: str = ""
    image: int | None = None
    objects: tuple[int, ...] = ()
    outlines: tuple[Points, ...] = ()
    spots: tuple[tuple[float, float], ...] = ()
    frame: tuple[int, int] | None = None
    twin: tuple[str, int] | None = None


@dataclass(frozen=True)
class Part:
    """One annotation file with its pictures.

    Args:
        name: "train" or "val".
        dataset: what can be used of it.
        document: the file's JSON.
        problems: what was found when it was read.
    """

    name: str
    dataset: CocoDataset
    document: Mapping[str, Any]
    problems: tuple[Problem, ...] = ()
    _image_rows: dict[int | str, Mapping[str, Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = {row["id"]: row for row in self.document["images"] if isinstance(row, dict) and "id" in row}
        object.__setattr__(self, "_image_rows", rows)

    def __len__(self) -> int:
        return len(self.dataset)

    def image_row(self, image: int) -> Mapping[str, Any]:
        """Give the file's row of a picture."""
        return self._image_rows[self.dataset.images[image].id]

    def rows(self, image: int) -> list[Mapping[str, Any]]:
        """Give the file's rows of a picture's objects, in the order of `dataset.annotations[image]`."""
        annotations = self.document["annotations"]
        return [annotations[row] for row in self.dataset.annotations[image].rows.tolist()]

    def find(
        self, rule: str, why: str, image: int | None = None, objects: Sequence[int] = (), **shown: Any
    ) -> Finding:
        """Make a finding about a picture, about objects in it (the first is named), or about the part."""
        place, image_id, annotation_id = "", None, None
        if image is not None:
            record = self.dataset.images[image]
            image_id, place = record.id, printable(record.file_name)
            if objects:
                row = int(self.dataset.annotations[image].rows[objects[0]])
                stated = self.document["annotations"][row].get("id")
                annotation_id = stated if type(stated) in (int, str) else None
                name = f"annotation {printable(str(stated))}" if annotation_id is not None else f"annotations[{row}]"
                place = f"{name} in {place}"
        file = printable(self.dataset.path)
        problem = Problem(RULES[rule].outcome, rule, file, place, why, image_id, annotation_id)
        return Finding(problem, self.name, image, tuple(objects), **shown)
