"""What a run resumes from: model files that hold the optimizer's state too. No pickle; a damaged one is passed over."""

import contextlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from panet.config import ModelConfig
from panet.errors import CheckpointError
from panet.structures import LabelMap
from panet.train.sums import Sums
from panet.weights.checkpoint import load_model, save_model

__all__ = ["Checkpoints", "Standing"]

_KEPT = 2  # the newest may turn out damaged
_NOTE = "standing"


class Standing(BaseModel):
    """How far a run is.

    Args:
        step: the last one done.
        checked_step: the last one that was evaluated.
        best_step: the evaluated one with the best score; 0: none yet.
        best_score: its score; None: none yet, or undefined.
        num_worse: evaluations since then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    step: int = 0
    checked_step: int = 0
    best_step: int = 0
    best_score: float | None = None
    num_worse: int = 0

    def without_best(self) -> "Standing":
        """Give one in which the next weights that are scored are the best: those that were are lost."""
        return self.model_copy(update={"best_step": 0, "best_score": None})


class Checkpoints:
    """The checkpoints of a run, `checkpoint/step-00000123.safetensors`; the newest two remain.

    Each holds all that a step changes: tensors, and the standing as JSON in the header. There is no generator's state:
    every draw comes from the seed and the step, and so does the place in the data.

    Args:
        folder: of the run.
        config, label_map: of the model.
        sums: of the run's files.
    """

    def __init__(self, folder: Path, config: ModelConfig, label_map: LabelMap, sums: Sums) -> None:
        self._run = folder
        self._folder = folder / "checkpoint"
        self._config = config
        self._label_map = label_map
        self._sums = sums

    def save(self, standing: Standing, tensors: dict[str, Tensor]) -> None:
        """Write one, then SHA256SUMS, which names it first; only then remove old ones.

        Raises:
            CheckpointError: it cannot be written, or a weight is not finite.
        """
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{self._folder}: cannot be made: {error.strerror}") from error
        path = self._path(standing.step)
        notes = {_NOTE: standing.model_dump_json()}
        self._sums.note(path, save_model(path, tensors, self._config, self._label_map, notes=notes))
        kept = [old for old in self._paths() if old <= path][:_KEPT]  # one of a later step was damaged: passed over
        self._sums.keep([*kept, *sorted(self._run.glob("weights/*.safetensors"))])
        self._sums.write()
        for old in self._paths():
            if old not in kept:
                with contextlib.suppress(OSError):  # the new one counts; the next save tries again
                    old.unlink()

    def load(self) -> tuple[Standing, dict[str, Tensor], list[str]]:
        """Give the newest whole checkpoint, and what was wrong with newer ones; step 0 and no tensors if there is none.

        Raises:
            CheckpointError: all of them are damaged.
        """
        problems: list[str] = []
        for path in self._paths():
            try:
                model_file = load_model(path)
                standing = Standing.model_validate_json(model_file.notes[_NOTE])
            except CheckpointError as error:
                problems.append(str(error))
            except (KeyError, ValidationError):
                problems.append(f"{path}: a model, but not a checkpoint of a run")
            else:
                return standing, model_file.state, self._missing(standing.step) + problems
        if problems:
            raise CheckpointError(f"{'; '.join(problems)}; none is left to go on from: start anew with --overwrite")
        return Standing(), {}, problems

    def _missing(self, step: int) -> list[str]:
        """Tell which later ones are gone that SHA256SUMS names."""
        paths = [self._run / name for name in self._sums.names()]
        later = [path for path in paths if path.parent == self._folder and path > self._path(step)]
        return [f"{path}: is gone, though SHA256SUMS names it" for path in later if not path.exists()]

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}.safetensors"

    def _paths(self) -> list[Path]:
        """List the files, newest first."""
        return sorted(self._folder.glob("step-*.safetensors"), reverse=True)
