"""Collects what is wrong with one annotation file while it is read."""

from typing import NoReturn

from panet.data.images import printable
from panet.data.problems import BadDataError, Outcome, Problem
from panet.data.records import is_id

__all__ = ["Findings", "name_row"]

_LONGEST = 100  # characters of an id that are shown


class Findings:
    """The problems of a file, in the order in which they are found.

    Args:
        file: its name, printable.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def add_row(self, outcome: Outcome, rows: str, place: int, row: object, rule: str, why: str) -> None:
        """Take a problem of a row: it is named by its id, or else by its place.

        Args:
            outcome: what becomes of the row.
            rows: "images" or "annotations".
            place: of the row among them.
            row: itself.
            rule: which check found it.
            why: what is wrong.
        """
        entries = row if isinstance(row, dict) else {}
        number, image_id = (entries.get(key) if is_id(entries.get(key)) else None for key in ("id", "image_id"))
        where = name_row(rows, place, row)
        if rows == "images":
            image_id, number = number, None
        self.problems.append(Problem(outcome, rule, self.file, where, printable(why), image_id, number))

    def warn(self, rule: str, why: str, place: str = "") -> None:
        """Take a warning of the file as a whole, or of a place in it."""
        self.problems.append(Problem(Outcome.WARN, rule, self.file, place, printable(why)))

    def stop(self, rule: str, why: str, place: str = "") -> NoReturn:
        """Give up: the file cannot be used."""
        self.problems.append(Problem(Outcome.FATAL, rule, self.file, place, printable(why)))
        raise BadDataError(self.problems)


def name_row(rows: str, place: int, row: object) -> str:
    """Name a row of "images" or "annotations": "annotation 4711" by its id, else "annotations[3]" by its place."""
    number = row.get("id") if isinstance(row, dict) else None
    return printable(f"{rows.removesuffix('s')} {number}")[:_LONGEST] if is_id(number) else f"{rows}[{place}]"
