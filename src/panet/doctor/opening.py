"""A data set's files -> its parts, and the problems of reading as findings that can be drawn."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from panet.data.formats import reading as formats
from panet.data.images import printable
from panet.data.problems import BadDataError, Outcome, Problem
from panet.doctor.outlines import polygons_of
from panet.doctor.parts import Finding, Part, Points
from panet.doctor.pictures import explain_size
from panet.errors import DataError

__all__ = ["drawable_outlines", "open_part", "show_problems"]

_MOST_OUTLINES = 40  # of one picture
_FARTHEST = 1e6  # px; a corner beyond it is not drawn


def open_part(name: str, part: formats.Part, track: formats.Track = formats.untracked) -> Part | tuple[Finding, ...]:
    """Read a part of a data set; if it cannot be used at all, give what was found in it instead."""
    try:
        opened = formats.open_part(part, track)
        return Part(name, formats.check_reading(part, opened, "skip"), opened.document)
    except BadDataError as error:
        return tuple(Finding(problem, name) for problem in error.problems)


def show_problems(part: Part) -> Iterator[Finding]:
    """Give the problems of reading as findings, with what of the picture shows them.

    All boxes that are not the masks' are left to `objects.find_wrong_boxes`, which looks closer.
    """
    for problem in part.dataset.problems:
        if problem.rule == "box-not-the-masks":
            continue
        if problem.rule == "size-not-the-pictures":
            yield _show_size(part, problem)
        elif problem.place.startswith("annotation") and problem.image_id in part.places:
            yield _show_annotation(part, problem)
        else:
            image = part.places.get(problem.image_id) if problem.image_id is not None else None
            yield Finding(problem, part.name, image)


def _show_size(part: Part, problem: Problem) -> Finding:
    """Show the outlines of a picture in the frame that is stated and is not its own."""
    assert problem.image_id is not None  # it is read before the size
    row = part.image_rows[problem.image_id]
    try:
        exact, path, _ = explain_size(part, problem, row)
    except DataError:  # the file has changed since it was read
        return Finding(problem, part.name)
    annotations = part.document["annotations"]
    rows = part.rows_by_image.get(row["id"], [])
    outlines = [outline for place in rows for outline in drawable_outlines(annotations[place])]
    frame = int(row["width"]), int(row["height"])
    return Finding(exact, part.name, outlines=tuple(outlines[:_MOST_OUTLINES]), frame=frame, picture=Path(path))


def _show_annotation(part: Part, problem: Problem) -> Finding:
    """Show an object with its mask and box; one that cannot be used with its polygons, if they can be drawn."""
    assert problem.image_id is not None
    image = part.places[problem.image_id]
    rows = part.rows_by_label.get(problem.place, [])
    name = printable(part.dataset.images[image].file_name)
    problem = replace(problem, place=f"{problem.place} in {name}")
    if problem.outcome is Outcome.WARN:
        kept = np.flatnonzero(np.isin(part.dataset.annotations.rows(image), rows)).tolist()
        return Finding(problem, part.name, image, tuple(kept[-1:]))
    document = part.document["annotations"]
    outlines = [
        outline for row in rows if isinstance(document[row], dict) for outline in drawable_outlines(document[row])
    ]
    return Finding(problem, part.name, image, outlines=tuple(outlines[:_MOST_OUTLINES]))


def drawable_outlines(row: Mapping[str, Any]) -> list[Points]:
    """Give the polygons of a row that may be anything, as far as they can be drawn."""
    try:
        polygons = polygons_of(row)
    except (TypeError, ValueError, OverflowError):  # not numbers, or not in pairs
        return []
    return [polygon for polygon in polygons if len(polygon) and bool((np.abs(polygon) <= _FARTHEST).all())]
