"""What a command does as one of several processes that torchrun started; light, for it is asked at every start."""

import json
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from panet.train.distributed import Ranks

__all__ = ["check_command", "console_of", "keep_cause", "make_way", "rank_prefix", "speaks_for_all"]

_SHARED = ("train", "eval", "predict")
_SECONDS_FOR_OTHERS = 10.0  # also on a machine that is busy: where torchrun stops this one, nothing is waited for


def _num_ranks() -> int:
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def rank_prefix() -> str:
    """Give "rank 1: " to begin a message with; nothing for a process that runs alone."""
    return f"rank {os.environ['RANK']}: " if _num_ranks() > 1 else ""


def speaks_for_all() -> bool:
    """Tell whether this process says what all of them would say alike."""
    return rank_prefix() in ("", "rank 0: ")


def console_of(ranks: "Ranks") -> "Console":
    """Give where the first rank prints; what others print there is not seen."""
    from rich.console import Console

    return Console(highlight=False, quiet=not ranks.is_first)


def check_command(name: str) -> None:
    """See that a command knows how to share its work; ConfigError if several processes run one that does not."""
    from panet.errors import ConfigError

    if _num_ranks() > 1 and name not in _SHARED:
        raise ConfigError(f"{name}: runs in one process: start it without torchrun (which is for {', '.join(_SHARED)})")


def keep_cause(message: str) -> None:
    """Let torchrun print, as the last thing, why this process ended: it looks into a file that it names."""
    place = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if place and _num_ranks() > 1:
        try:
            with open(place, "w", encoding="utf-8") as file:
                json.dump({"message": f"{rank_prefix()}{message}", "timestamp": int(time.time())}, file)
        except OSError:
            return  # the message has been printed


def make_way() -> None:
    """Let the process that failed end first: torchrun takes the first to end for the cause, and stops the rest."""
    time.sleep(_SECONDS_FOR_OTHERS)
