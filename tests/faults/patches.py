"""What breaks inside a process: each function changes something of panet in the process that calls it."""

import os
import signal

from panet.train.learner import Learner


def signal_in_step(step: int, number: int = signal.SIGKILL) -> None:
    """Send this process a signal in the middle of a step: gradients are there, weights have not changed."""
    update = Learner.update

    def broken(self: Learner, current: int) -> tuple[float, float]:
        if current == step:
            os.kill(os.getpid(), number)
        return update(self, current)

    Learner.update = broken  # type: ignore[method-assign]
