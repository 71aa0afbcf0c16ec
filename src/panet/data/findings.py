"""Collects what is wrong with one annotation file while it is read."""

from typing import NoReturn

from panet.data.images import printable
from panet.data.problems import BadDataError, Outcome, Problem
from panet.data.records import is_id

__all__ = ["Findings", "Id", "name_row"]

Id = int | str | None


class Findings:
    """The problems of a file, in the order in which they are found.

    Args:
        file: its name, printable.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def add(
        self,
        outcome: Outcome,
        rule: str,
        why: str,
        place: str = "",
        *,
        image_id: Id = None,
        annotation_id: Id = None,
    ) -> None:
        """Take a problem; the arguments are those of `Problem`."""
        self.problems.append(Problem(outcome, rule, self.file, place, printable(why), image_id, annotation_id))

    def warn(self, rule: str, why: str, place: str = "") -> None:
        """Take a warning of the file as a whole, or of a place in it."""
        self.add(Outcome.WARN, rule, why, place)

    def stop(self, rule: str, why: str, place: str = "") -> NoReturn:
        """Give up: the file cannot be used."""
        self.add(Outcome.FATAL, rule, why, place)
        raise BadDataError(self.problems)


def name_row(kind: str, number: object, place: int) -> tuple[str, Id]:
    """Name a row of `images` or `annotations` by its id, else by its place; give the id too, None if there is none."""
    if is_id(number):
        return printable(f"{kind} {number}")[:100], number
    return f"{kind}s[{place}]", None
