"""The parts of a data set as the doctor sees them: what was read, and the file's own rows beside it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from panet.data.coco import CocoDataset
from panet.data.findings import name_row
from panet.data.images import printable
from panet.data.problems import Outcome, Problem
from panet.data.records import is_id
from panet.doctor.rules import RULES

__all__ = ["Finding", "Part", "Points"]

Points: TypeAlias = NDArray[np.float64]
"""(P, 2) corners x, y in image px."""


@dataclass(frozen=True)
class Finding:
    """A problem, and what of the picture shows it.

    Args:
        problem: the record of it.
        part: "train" or "val".
        image: place of the picture among those of the part that can be used; none: it cannot, or there is no one.
        objects: places of the objects among the picture's.
        outlines: polygons to draw.
        spots: points (x, y) to mark, image px.
        frame: (width, height) as the file states it, where that is the finding.
        picture: the file, of a picture that cannot be used but can be seen.
        twin: part and place of another picture to show beside it.
    """

    problem: Problem
    part: str
    image: int | None = None
    objects: tuple[int, ...] = ()
    outlines: tuple[Points, ...] = ()
    spots: tuple[tuple[float, float], ...] = ()
    frame: tuple[int, int] | None = None
    picture: Path | None = None
    twin: tuple[str, int] | None = None

    @property
    def is_refused(self) -> bool:
        """Tell whether strict training refuses what it is about."""
        return self.problem.outcome is not Outcome.WARN

    @property
    def can_be_drawn(self) -> bool:
        """Tell whether a picture shows more of it than words do."""
        seen = self.picture is not None or self.image is not None
        return seen and self.problem.outcome is not Outcome.FATAL and (not self.is_refused or self.outlines != ())


@dataclass(frozen=True)
class Part:
    """One annotation file with its pictures.

    Args:
        name: "train" or "val".
        dataset: what can be used of it, and the problems found when it was read.
        document: the file's JSON.
    """

    name: str
    dataset: CocoDataset
    document: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.dataset)

    @cached_property
    def places(self) -> dict[int | str, int]:
        """Map ids of pictures that can be used to their places."""
        return {record.id: place for place, record in enumerate(self.dataset.images)}

    @cached_property
    def image_rows(self) -> dict[int | str, Mapping[str, Any]]:
        """Map ids of pictures to the file's rows."""
        rows = self.document["images"]
        return {row["id"]: row for row in rows if isinstance(row, dict) and is_id(row.get("id"))}

    @cached_property
    def rows_by_image(self) -> dict[int | str, list[int]]:
        """Map ids of pictures, used or not, to places in the file's list of annotations."""
        places: dict[int | str, list[int]] = defaultdict(list)
        for place, row in enumerate(self.document["annotations"]):
            if isinstance(row, dict) and is_id(row.get("image_id")):
                places[row["image_id"]].append(place)
        return places

    @cached_property
    def rows_by_label(self) -> dict[str, list[int]]:
        """Map "annotation 4711", "annotations[3]" to places in the file's list of annotations."""
        labels: dict[str, list[int]] = defaultdict(list)
        for place, row in enumerate(self.document["annotations"]):
            labels[name_row("annotations", place, row)].append(place)
        return labels

    def rows(self, image: int) -> list[Mapping[str, Any]]:
        """Give the file's rows of a picture's objects, in the order of `dataset.annotations[image]`."""
        annotations = self.document["annotations"]
        return [annotations[row] for row in self.dataset.annotations.rows(image).tolist()]

    def find(self, rule: str, why: str, image: int | None = None, objects: Sequence[int] = (), **shown: Any) -> Finding:
        """Make a finding about a picture, about objects in it (the first is named), or about the part.

        Args:
            rule: one of `rules.RULES`.
            why: what is wrong, in a few words.
            image: the picture's place.
            objects: places among the picture's objects.
            shown: more fields of the finding.
        """
        place, image_id, annotation_id = "", None, None
        if image is not None:
            record = self.dataset.images[image]
            image_id, place = record.id, printable(record.file_name)
            if objects:
                row = int(self.dataset.annotations.rows(image)[objects[0]])
                entries = self.document["annotations"][row]
                annotation_id = entries.get("id") if is_id(entries.get("id")) else None
                place = f"{name_row('annotations', row, entries)} in {place}"
        file = printable(self.dataset.path)
        problem = Problem(RULES[rule].outcome, rule, file, place, printable(why), image_id, annotation_id)
        return Finding(problem, self.name, image, tuple(objects), **shown)
