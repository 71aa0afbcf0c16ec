"""What is wrong with a data set, item by item, and what becomes of the item."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Outcome", "Problem", "count_outcomes"]


class Outcome(StrEnum):
    """What becomes of the item that a problem is about."""

    WARN = "warn"
    """It is used as it is; a line names it."""
    DROP_ANN = "drop_annotation"
    """The annotation cannot be used; its picture can."""
    DROP_IMG = "drop_image"
    """The picture and all its annotations cannot be used."""
    FATAL = "fatal"
    """The file cannot be used."""


@dataclass(frozen=True)
class Problem:
    """One finding.

    Args:
        outcome: what becomes of the item.
        rule: which check found it: a short name that stays, such as "box-without-area".
        file: the annotation file or picture, printable.
        place: where in it: "annotation 4711", "images[3]", "line 3 column 7"; empty: the file as a whole.
        why: what is wrong, in a few words, and after a colon or semicolon what to do.
        image_id: the picture's id in the file, where there is one.
        annotation_id: the annotation's, likewise.
    """

    outcome: Outcome
    rule: str
    file: str
    place: str
    why: str
    image_id: int | str | None = None
    annotation_id: int | str | None = None

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.place, self.why) if part)

    def to_document(self) -> dict[str, Any]:
        """Give what a report in JSON holds of it."""
        return {**vars(self), "outcome": self.outcome.value}


def count_outcomes(problems: Iterable[Problem]) -> dict[str, int]:
    """Count the problems of each outcome, those of none too."""
    counts = {outcome.value: 0 for outcome in Outcome}
    for problem in problems:
        counts[problem.outcome.value] += 1
    return counts
