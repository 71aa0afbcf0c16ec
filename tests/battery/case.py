"""A case of the battery: one thing wrong, or odd, and what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from panet.data.problems import Outcome

OK = None
WARN, DROP_ANN, DROP_IMG, FATAL = Outcome.WARN, Outcome.DROP_ANN, Outcome.DROP_IMG, Outcome.FATAL


@dataclass(frozen=True)
class Case:
    """What is done to the clean data set, and what must follow.

    Args:
        name: its number in the table of the policy, and a word where the table has none or several.
        outcome: in strict mode OK and WARN are accepted, the others refused; in skip mode only FATAL is.
        rule: that finds it.
        spoil: changes the data set.
        says: a part of the message.
        orphans: annotations that are refused because their picture cannot be told any more.
    """

    name: str
    outcome: Outcome | None
    rule: str
    spoil: Callable[[Any], object]
    says: str = ""
    orphans: int = 0
