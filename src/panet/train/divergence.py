"""What a run leaves behind when a step diverges: the state before it, and a report that it can be replayed from."""

import contextlib
import math
import shlex
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from panet.data.images import printable
from panet.errors import CheckpointError, ConfigError, DivergedError, PeerError
from panet.structures import Batch
from panet.train.distributed import Ranks
from panet.train.learner import Learner
from panet.train.run import Run
from panet.train.tracing import Finding, Trace, trace
from panet.weights.files import write_whole

__all__ = ["REPORT", "DivergedBatch", "Divergence", "Watch", "describe_pictures", "read_divergence"]

REPORT = "divergence.json"

_MOST_NAMED = 8  # pictures, in the line on the screen; the report has all


class DivergedBatch(BaseModel):
    """A batch of the step.

    Args:
        image_ids: of its pictures.
        file_names: of its pictures, printable.
        keys: (epoch, index) of its pictures, of which all that was drawn for them is a function.
        losses: name -> value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    image_ids: tuple[int | str, ...]
    file_names: tuple[str, ...]
    keys: tuple[tuple[int, int], ...]
    losses: dict[str, float]


class Divergence(BaseModel):
    """The report on a step that diverged, and was not taken.

    Args:
        step: 1, 2, ...
        problem: why it was not taken.
        first: the first tensor that is not finite; None: when the step was repeated, all were.
        batches: of the step, on the rank where that tensor is.
        rank, num_ranks: that rank, and how many there are.
        learning_rate: of the weights.
        gradient_norm: before clipping; None: it did not come to that.
        kept_step: whose state has been kept, to replay from; None: it could not be.
        device, threads: which it ran on.
        command: replays it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    step: int
    problem: str
    first: Finding | None
    batches: tuple[DivergedBatch, ...]
    rank: int
    num_ranks: int
    learning_rate: float
    gradient_norm: float | None
    kept_step: int | None
    device: str
    threads: int
    command: str


def read_divergence(folder: Path) -> Divergence:
    """Read a run's report; ConfigError if it has none, or it is damaged."""
    path = folder / REPORT
    try:
        return Divergence.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{printable(path)}: is not there: no step of this run has diverged") from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ConfigError(f"{printable(path)}: cannot be read as a report: {str(error).splitlines()[0]}") from error


class Watch:
    """Stands by at every step of a run, and explains one that diverges.

    Args:
        objective: (Batch, torch.Generator) -> named scalar losses.
        learner: of its model.
        run: where the report goes, and the state before the step.
        ranks: the processes that train together; all explain together, and the one that failed says it.
    """

    def __init__(self, objective: nn.Module, learner: Learner, run: Run, ranks: Ranks) -> None:
        self._objective = objective
        self._learner = learner
        self._run = run
        self._ranks = ranks
        self._statistics = [buffer for _, buffer in learner.model.named_buffers()]

    @contextlib.contextmanager
    def over(self, step: int, batches: Sequence[Batch], attempt: Callable[[], object]) -> Iterator[None]:
        """Stand by at a step; the running statistics, which a forward pass moves, are put back if it is not taken.

        Args:
            step: 1, 2, ...
            batches: of the step, on this rank.
            attempt: sets the step's gradients; called once more to find the first tensor that is not finite.

        Raises:
            DivergedError: the step raised one here; this one tells what was found and kept.
            PeerError: the step raised one on another rank.
        """
        before = [buffer.clone() for buffer in self._statistics]
        try:
            yield
        except (DivergedError, PeerError) as error:
            if error.exit_code != DivergedError.exit_code:
                raise
            traceback.clear_frames(error.__traceback__)  # they hold the maps of the first attempt
            self._put_back(before)
            found = trace(self._objective, self._learner, attempt)
            self._put_back(before)
            line = self._explain(step, batches, found, str(error))
            if isinstance(error, PeerError):
                raise
            raise DivergedError(line) from error

    def _put_back(self, before: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for buffer, old in zip(self._statistics, before, strict=True):
                buffer.copy_(old)

    def _explain(self, step: int, batches: Sequence[Batch], found: Trace, problem: str) -> str:
        """Keep the state and write the report, on the first rank; give the line for the screen to all."""
        kept, why_not = self._ranks.share(lambda: self._keep(step - 1))
        own = Divergence(
            step=step,
            problem=problem,
            first=found.first,
            batches=tuple(map(_describe, batches, found.losses)),
            rank=self._ranks.rank,
            num_ranks=self._ranks.size,
            learning_rate=self._learner.set_rate(step),
            gradient_norm=found.gradient_norm,
            kept_step=kept,
            device=str(batches[0].images.tensor.device),
            threads=torch.get_num_threads(),
            command=shlex.join(["panet", "replay", printable(self._run.folder)]),
        )
        every = self._ranks.collect([own.model_dump_json()])
        report = Divergence.model_validate_json(self._ranks.share(lambda: _choose(every)))
        place = self._ranks.share(lambda: self._write(report))
        first = f"first: {report.first}" if report.first is not None else "not so when it was repeated"
        end = why_not or f"the weights of step {kept} are kept; see it again with: {report.command}"
        return (
            f"step {step}: {report.problem}; {first}; {describe_pictures(report)}; lower train.learning_rate or set "
            f"train.max_grad_norm; report: {place}; {end}"
        )

    def _write(self, report: Divergence) -> str:
        """Write the report; give its place, or why it has none."""
        path = self._run.folder / REPORT
        try:
            write_whole(path, (report.model_dump_json(indent=2) + "\n").encode())
        except CheckpointError as error:
            return f"none: {error}"
        return printable(path)

    def _keep(self, step: int) -> tuple[int | None, str | None]:
        """Save the state before the step; give the step it is of, or else why it cannot be kept."""
        try:
            self._run.save(self._learner)
        except (CheckpointError, DivergedError) as error:
            return None, f"the weights of step {step} could not be kept: {error}"
        return step, None


def describe_pictures(report: Divergence) -> str:
    """Name the pictures of the batch with a loss that is not finite, or else of all, the first few, with the losses."""
    spoiled = [batch for batch in report.batches if not all(map(math.isfinite, batch.losses.values()))]
    batches = spoiled[:1] or list(report.batches)
    losses = ", ".join(f"{name} {loss:.4g}" for name, loss in batches[-1].losses.items())
    named = [picture for batch in batches for picture in _name_pictures(batch)]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    where = f" of rank {report.rank}" if report.num_ranks > 1 else ""
    return f"losses {losses} on images {', '.join(named[:_MOST_NAMED])}{more}{where}"


def _name_pictures(batch: DivergedBatch) -> list[str]:
    names = batch.file_names or ("",) * len(batch.image_ids)
    return [f"{number!r} {printable(name)}".strip() for number, name in zip(batch.image_ids, names, strict=True)]


def _choose(reports: Sequence[str]) -> str:
    """Choose the report of the rank on which it arose: others see its gradients, after they have been averaged."""
    read = [Divergence.model_validate_json(text) for text in reports]
    told = [report for report in read if report.problem]  # the others were not
    found = [report for report in read if report.first is not None]
    arisen = [report for report in found if report.first is not None and report.first.kind != "gradient norm"]
    chosen = (arisen or found or told)[0]  # the last where it was not so when it was repeated
    return chosen.model_copy(update={"problem": told[0].problem}).model_dump_json()


def _describe(batch: Batch, losses: dict[str, float]) -> DivergedBatch:
    return DivergedBatch(
        image_ids=tuple(batch.image_ids),
        file_names=tuple(printable(source.file_name) for source in batch.sources),
        keys=tuple((source.epoch, source.index) for source in batch.sources),
        losses=losses,
    )
