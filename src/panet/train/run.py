"""What a run writes: a line a step, weights, checkpoints."""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from panet.config import ModelConfig
from panet.structures import LabelMap
from panet.train.checkpoints import Checkpoints, Standing
from panet.train.distributed import ALONE, Ranks
from panet.train.learner import Learner
from panet.weights.checkpoint import save_model

__all__ = ["Run", "StepRecord", "score_of"]


_SHOWN = ("box/AP", "mask/AP", "mask/AP50", "loss/total")


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


def score_of(metrics: Mapping[str, float]) -> float:
    """Give what decides which weights are best: the AP of masks, or of boxes where there are none."""
    return metrics["mask/AP"] if "mask/AP" in metrics else metrics["box/AP"]


class Run:
    """A run's folder while it trains: metrics.jsonl, tensorboard/, weights/{best,last}.safetensors, checkpoint/.

    Args:
        folder: made by `train.folder`.
        config: the model's settings.
        label_map: its classes.
        steps_per_epoch: for the log.
        notes: kept in the model files.
        on_step, on_note: told of each step, and of what a user should know.
        ranks: the processes that train; the first writes, the others keep count.
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
        ranks: Ranks = ALONE,
    ) -> None:
        self.folder = folder
        self.standing = Standing()
        self.note = on_note
        self._config = config
        self._label_map = label_map
        self._steps_per_epoch = steps_per_epoch
        self._notes = dict(notes)
        self._on_step = on_step
        self._checkpoints = Checkpoints(folder / "checkpoint", config, label_map)
        self._metrics = folder / "metrics.jsonl"
        self._board: Any = None
        self._ranks = ranks
        if ranks.is_first:
            (folder / "weights").mkdir(exist_ok=True)

    def start(self, learner: Learner) -> None:
        """Go on from the newest checkpoint, if there is one; forget what was logged after it.

        Raises:
            CheckpointError: all checkpoints are damaged, or of another model.
        """
        tensors: dict[str, Tensor] = {}
        with self._ranks.together():
            if self._ranks.is_first:
                self.standing, tensors, problems = self._checkpoints.load()
                for problem in problems:
                    self.note(f"{problem}; going on from step {self.standing.step}")
        self.standing = Standing.model_validate(self._ranks.share(self.standing.model_dump))
        tensors = self._ranks.share_tensors(tensors)
        if tensors:
            learner.load_tensors(tensors)
        if not self._ranks.is_first:
            return
        _keep_lines(self._metrics, self.standing)
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(self.folder / "tensorboard", purge_step=self.standing.step + 1)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

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
        for text in self._metrics.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if line["step"] == self.standing.best_step and "metrics" in line:
                metrics = {name: math.nan if value is None else value for name, value in line["metrics"].items()}
                return {name: value for name, value in metrics.items() if not name.startswith("loss/")}
        return {}

    def check(self, learner: Learner, metrics: Mapping[str, float] | None) -> None:
        """Log an evaluation and save; the weights become the best if their score is, or if nothing was scored."""
        step, best = self.standing.step, self.standing.best_score
        score = math.nan if metrics is None else score_of(metrics)
        better = best is None or score > best
        update: dict[str, Any] = {"checked_step": step}
        if better:
            update |= {"best_step": step, "best_score": None if math.isnan(score) else score, "num_worse": 0}
        else:
            update |= {"num_worse": self.standing.num_worse + 1}
        if metrics is not None:
            shown = [f"{name} {metrics[name]:.3f}" for name in _SHOWN if name in metrics]
            self.note(f"step {step}: {'  '.join(shown)}{'  (best)' if better else ''}")
            self._write({"metrics": {name: None if math.isnan(value) else value for name, value in metrics.items()}})
        if better:
            self._save_weights("best", learner)
        self.standing = self.standing.model_copy(update=update)
        self.save(learner)

    def save(self, learner: Learner) -> None:
        """Write the last weights, and what is needed to go on from here."""
        if not self._ranks.is_first:
            return
        self._save_weights("last", learner)
        self._checkpoints.save(self.standing, learner.tensors())

    def _save_weights(self, name: str, learner: Learner) -> None:
        if not self._ranks.is_first:
            return
        path = self.folder / "weights" / f"{name}.safetensors"
        notes = {**self._notes, "step": str(self.standing.step)}
        save_model(path, learner.judged.state_dict(), self._config, self._label_map, notes=notes)

    def _write(self, content: Mapping[str, Any]) -> None:
        if not self._ranks.is_first:
            return
        step = self.standing.step
        line = {"step": step, "epoch": round(step / self._steps_per_epoch, 4), **content}
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in _flatten(content):
                self._board.add_scalar(name, value, step)


def _flatten(content: Mapping[str, Any]) -> list[tuple[str, float]]:
    flat: list[tuple[str, float]] = []
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat += [(f"{name}/{inner}", number) for inner, number in value.items() if number is not None]
        else:
            flat.append((name, value))
    return flat


def _keep_lines(path: Path, standing: Standing) -> None:
    """Drop the lines after a standing, and a line that a crash cut short."""
    if not path.exists():
        return
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if line["step"] <= (standing.checked_step if "metrics" in line else standing.step):
            kept.append(text + "\n")
    part = path.with_suffix(".part")
    part.write_text("".join(kept), encoding="utf-8")
    os.replace(part, path)
