"""What a run writes: a line a step, weights, checkpoints."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from panet.config import ModelConfig
from panet.errors import CheckpointError, DivergedError, PANetError
from panet.structures import LabelMap
from panet.train.checkpoints import Checkpoints, Standing
from panet.train.distributed import ALONE, Ranks
from panet.train.journal import Journal
from panet.train.learner import Learner
from panet.train.log_group import LogGroup
from panet.train.scores import describe_scores, score_of
from panet.train.sums import Sums
from panet.weights.checkpoint import save_model
from panet.weights.files import clear_parts

__all__ = ["Run", "StepRecord"]


@dataclass(frozen=True)
class StepRecord:
    """What one step gave.

    Args:
        step: 1, 2, ...
        losses: name -> mean over the step's batches.
        learning_rate: of the weights.
        gradient_norm: before clipping.
    """

    step: int
    losses: Mapping[str, float]
    learning_rate: float
    gradient_norm: float


class Run:
    """A run's folder while it trains: metrics.jsonl and other logs, weights/{best,last}.safetensors, checkpoint/.

    A full disk or a lost folder does not end the training: what cannot be written is told, kept, and written with the
    next save that succeeds.

    Args:
        folder: made by `train.folder`.
        config: the model's settings.
        label_map: its classes.
        steps_per_epoch: for the log.
        notes: kept in the model files.
        on_step, on_note: told of each step, and of what a user should know.
        claim: called before anything is written; sees that the folder is there and this process's. What the disk does
            not allow, it raises as an OSError or a PANetError that comes from one.
        save_seconds: between checkpoints where no evaluation comes.
        clock: seconds that never go back.
        ranks: the processes that train together; the first one writes, the others keep count.
        services: names in `logs.SERVICES` that are asked for.
        settings: of the run, shown there.
    """

    def __init__(
        self,
        folder: Path,
        config: ModelConfig,
        label_map: LabelMap,
        steps_per_epoch: float,
        notes: Mapping[str, str],
        on_step: Callable[[StepRecord], None],
        on_note: Callable[[str], None],
        claim: Callable[[], None] = lambda: None,
        save_seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        ranks: Ranks = ALONE,
        services: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.standing = Standing()
        self.note = on_note
        self._config = config
        self._label_map = label_map
        self._steps_per_epoch = steps_per_epoch
        self._notes = dict(notes)
        self._on_step = on_step
        self._claim = claim
        self._sums = Sums(folder)
        self._checkpoints = Checkpoints(folder, config, label_map, self._sums)
        self._journal = Journal(folder / "metrics.jsonl")
        self._logs = LogGroup(folder, self._journal, services, settings or {}, on_note)
        self._best: tuple[int, dict[str, Tensor]] | None = None  # step and weights that are still to be written
        self._trouble = ""  # why the last write failed
        self._save_seconds = save_seconds
        self._clock = clock
        self._last_save = clock()
        self._ranks = ranks
        self._writes = ranks.is_first
        if self._writes:
            (folder / "weights").mkdir(exist_ok=True)

    def start(self, learner: Learner) -> None:
        """Go on from the newest checkpoint, or write the first one; forget what was logged after it.

        Raises:
            CheckpointError: all checkpoints are damaged, or of another model; or nothing can be written.
        """
        tensors: dict[str, Tensor] = {}
        with self._ranks.together():
            if self._writes:
                tensors = self._open()
        self._share_standing()
        tensors = self._ranks.share_tensors(tensors)
        with self._ranks.together():
            if tensors:
                learner.load_tensors(tensors)
            elif self._writes:
                self._checkpoints.save(self.standing, learner.tensors())
        if self._writes:
            if num_lost := self.standing.step - self._journal.rewind(self.standing):
                self.note(f"metrics.jsonl: the lines of {num_lost} of {self.standing.step} steps are lost")
            self._logs.open(self.standing.step)

    def _open(self) -> dict[str, Tensor]:
        """Clear what a crash left, and give what the newest checkpoint holds."""
        for place in (self.folder, self.folder / "weights", self.folder / "checkpoint"):
            clear_parts(place)
        self._sums.read()
        self.standing, tensors, problems = self._checkpoints.load()
        for problem in problems:
            self.note(f"{problem}; going on from step {self.standing.step}")
        best = self.folder / "weights" / "best.safetensors"
        if self.standing.best_step and not best.is_file():
            self.standing = self.standing.without_best()
            self.note(f"{best}: is gone; the next weights that are scored will be the best")
        return tensors

    def _share_standing(self) -> None:
        self.standing = Standing.model_validate(self._ranks.share(self.standing.model_dump))

    def close(self) -> None:
        self._logs.close()

    @property
    def takes_pictures(self) -> bool:
        """Whether a log is there that shows pictures."""
        return self._logs.takes_pictures

    def show(self, named: Mapping[str, NDArray[np.uint8]]) -> None:
        """Log pictures (H, W, 3) RGB of the step that is being evaluated."""
        self._logs.pictures(self.standing.step, named)

    def is_stale(self, patience: int | None) -> bool:
        """Tell whether so many evaluations in a row were no better than the best."""
        return patience is not None and self.standing.num_worse >= patience

    def record(self, record: StepRecord) -> None:
        """Log a step that is done."""
        self.standing = self.standing.model_copy(update={"step": record.step})
        line = {"losses": dict(record.losses), "total": sum(record.losses.values())}
        line |= {"learning_rate": record.learning_rate, "gradient_norm": record.gradient_norm}
        self._write(line)
        self._on_step(record)

    def best_metrics(self) -> dict[str, float]:
        """Give COCO's metrics of the best weights, as they were logged; NaN where undefined."""
        for line in self._journal.lines():
            if line["step"] == self.standing.best_step and "metrics" in line:
                metrics = {name: math.nan if value is None else value for name, value in line["metrics"].items()}
                return {name: value for name, value in metrics.items() if not name.startswith("loss/")}
        return {}

    def check(self, learner: Learner, metrics: Mapping[str, float] | None) -> None:
        """Log an evaluation and save; the weights become the best if their score is, or if nothing was scored."""
        with contextlib.suppress(CheckpointError):  # then the save below fails too, and tells
            self._hold_folder()
        step, best = self.standing.step, self.standing.best_score
        score = math.nan if metrics is None else score_of(metrics)
        better = best is None or score > best
        update: dict[str, Any] = {"checked_step": step}
        if better:
            update |= {"best_step": step, "best_score": None if math.isnan(score) else score, "num_worse": 0}
            self._best = (step, _copied(learner.judged.state_dict())) if self._writes else None
        else:
            update |= {"num_worse": self.standing.num_worse + 1}
        if metrics is not None:
            self.note(f"step {step}: {describe_scores(metrics)}{'  (best)' if better else ''}")
            self._write({"metrics": {name: value if math.isfinite(value) else None for name, value in metrics.items()}})
        self.standing = self.standing.model_copy(update=update)
        self.save(learner, must=False)
        self._share_standing()

    def save(self, learner: Learner, must: bool = True) -> None:
        """Write the last weights, and what is needed to go on from here.

        Args:
            learner: of the model.
            must: else a failure is only told.

        Raises:
            CheckpointError: it must be, and cannot.
            DivergedError: a weight is not finite.
        """
        if not self._writes:
            return
        self._last_save = self._clock()
        try:
            self._hold_folder()
            self._journal.flush()
            if self._best is not None:
                self._save_weights("best", *self._best)
                self._best = None
            self._save_weights("last", self.standing.step, learner.judged.state_dict())
            self._checkpoints.save(self.standing, learner.tensors())
        except CheckpointError as error:
            if error.__cause__ is None:
                raise DivergedError(str(error)) from error
            if must:
                raise
            self._trouble = str(error)
            self.note(f"step {self.standing.step} is not saved: {error}; training goes on, and so does saving")
            return
        if self._trouble:
            self.note(f"step {self.standing.step}: saving succeeds again")
        self._trouble = ""

    def save_if_due(self, learner: Learner) -> None:
        """Save if the last time is long ago."""
        if self._clock() - self._last_save >= self._save_seconds:
            self.save(learner, must=False)

    def finish(self, learner: Learner) -> None:
        """See that the last step is saved; CheckpointError if it cannot be."""
        if self._trouble:
            self.save(learner)

    def _hold_folder(self) -> None:
        """See that the folder is there, and make anew what of it was removed.

        Raises:
            CheckpointError: the disk does not allow it.
            ConfigError: another process has the folder.
        """
        if not self._writes:
            return
        weights = self.folder / "weights"
        try:
            self._claim()
            if weights.is_dir():
                return
            place = weights if (self.folder / "metrics.jsonl").exists() else self.folder
            weights.mkdir()
        except OSError as error:
            raise CheckpointError(f"{self.folder}: cannot be written: {error.strerror}") from error
        except PANetError as error:
            if isinstance(error.__cause__, OSError):
                raise CheckpointError(str(error)) from error.__cause__
            raise
        if self._best is None:
            self.standing = self.standing.without_best()
        self.close()
        self._logs.open(self.standing.step)
        self.note(f"{place}: was removed; made anew, without what was in it before step {self.standing.step}")

    def _save_weights(self, name: str, step: int, state: Mapping[str, Tensor]) -> None:
        path = self.folder / "weights" / f"{name}.safetensors"
        notes = {**self._notes, "step": str(step)}
        self._sums.note(path, save_model(path, state, self._config, self._label_map, notes=notes))

    def _write(self, content: Mapping[str, Any]) -> None:
        if not self._writes:
            return
        step = self.standing.step
        line = {"step": step, "epoch": round(step / self._steps_per_epoch, 4), **content}
        self._journal.keep(line)
        try:
            self._hold_folder()
            self._journal.write()
        except (CheckpointError, OSError) as error:
            if not self._trouble:
                self._trouble = f"metrics.jsonl: {error.strerror if isinstance(error, OSError) else error}"
                self.note(f"{self._trouble}: lines wait until it can be written; training goes on")
        self._logs.scalars(line)


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
