"""Every error that a user can cause, in one tree.

PANetError
|- ConfigError      a setting: unknown key, wrong type, value out of range
|- DataError        a picture, an annotation, a folder of them
|- CheckpointError  a weights file
|- ExportError      a model that another format cannot hold
|- DivergedError    a loss that is no longer finite
|- ResourceError    memory, a process or a place that a run needs and does not get
`- RankError        the processes of one run: a port that is taken, a process that does not come
   `- PeerError     another process has failed, and says why itself

The command line prints one line for each and exits with its `exit_code`. What only this project can cause is an
`assert`.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "ExportError",
    "PANetError",
    "PeerError",
    "RankError",
    "ResourceError",
    "nearest",
]


class PANetError(Exception):
    """What was expected, what came, where, and what to do, in one line."""

    exit_code = 2


class ConfigError(PANetError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(PANetError):
    """A picture or an annotation cannot be used; of a whole data set `panet.data.problems.BadDataError` lists why."""


class CheckpointError(PANetError):
    """A weights file cannot be read or does not fit the model."""


class ExportError(PANetError):
    """A model cannot be written in the format asked for."""


class DivergedError(PANetError):
    """A loss is NaN or infinite."""

    exit_code = 3


class ResourceError(PANetError):
    """Memory ran out, a process that reads pictures died, or something else that a run needs is missing."""

    exit_code = 4


class RankError(PANetError):
    """The processes of one run cannot work together."""

    exit_code = 4


class PeerError(RankError):
    """Another process of the run has failed.

    Args:
        message: what is known here; empty if that process has said why.
        exit_code: its own.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def nearest(name: str, known: Iterable[str]) -> str:
    """Give " (did you mean 'x'?)" for the known name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
