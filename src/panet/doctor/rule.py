"""What is known of a rule, beside the check itself."""

from typing import NamedTuple

from panet.data.problems import Outcome

__all__ = ["Rule"]


class Rule(NamedTuple):
    """A rule's texts.

    Args:
        outcome: what becomes of what it finds.
        title: what it finds.
        matters: why that matters.
        remedy: what to do.
        fix: what `--fix` does; empty: nothing.
    """

    outcome: Outcome
    title: str
    matters: str
    remedy: str
    fix: str = ""
