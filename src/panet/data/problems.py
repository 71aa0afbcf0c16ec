"""What is wrong with a data set, item by item, and what becomes of the item."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from panet.errors import DataError

__all__ = ["BadDataError", "OnBadData", "Outcome", "Problem", "RowError", "count_outcomes"]

OnBadData: TypeAlias = Literal["strict", "skip"]
"""strict: every problem is collected, then nothing is done; skip: go on without the bad items."""


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


class BadDataError(DataError):
    """A data set cannot be used.

    Args:
        problems: all that was found, warnings too; its line is that of the gravest.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        grave = [problem for problem in self.problems if problem.outcome is not Outcome.WARN]
        grave.sort(key=lambda problem: problem.outcome is not Outcome.FATAL)  # otherwise as they were found
        more = f" (and {len(grave) - 1} more problems)" if len(grave) > 1 else ""
        super().__init__(f"{grave[0]}{more}")


class RowError(DataError):
    """Why one row of a file cannot be used; the caller says which row, and what becomes of it.

    Args:
        rule: as in `Problem`.
        why: likewise.
    """

    def __init__(self, rule: str, why: str) -> None:
        super().__init__(why)
        self.rule = rule
