"""What a run resumes from: model files that hold the optimizer's state too. No pickle; a damaged one is passed over."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from panet.config import ModelConfig
from panet.errors import CheckpointError
from panet.structures import LabelMap
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


class Checkpoints:
    """The checkpoints of a run, `step-00000123.safetensors`; the newest two remain."""

    def __init__(self, folder: Path, config: ModelConfig, label_map: LabelMap) -> None:
        self._folder = folder
        self._config = config
        self._label_map = label_map

    def save(self, standing: Standing, tensors: dict[str, Tensor]) -> None:
        """Write one; only then remove old ones.

        Raises:
            CheckpointError: it cannot be written, or a weight is not finite.
        """
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"step-{standing.step:08d}.safetensors"
        save_model(path, tensors, self._config, self._label_map, notes={_NOTE: standing.model_dump_json()})
        for old in self._paths()[_KEPT:]:
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
                return standing, model_file.state, problems
        if problems:
            raise CheckpointError(problems[0])
        return Standing(), {}, problems

    def _paths(self) -> list[Path]:
        """List the files, newest first."""
        return sorted(self._folder.glob("step-*.safetensors"), reverse=True)
