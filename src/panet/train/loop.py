"""The loop: plain PyTorch, and a function of the seed and the step alone, so that a resumed run equals a whole one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from panet.data.dataset import sample_generator
from panet.errors import DataError, DivergedError, PANetError, PeerError, ResourceError
from panet.structures import Batch
from panet.train.distributed import ALONE, Ranks, gradients_shared
from panet.train.divergence import Watch
from panet.train.interrupts import Interrupts
from panet.train.learner import Learner
from panet.train.memory import OutOfMemory
from panet.train.run import Run, StepRecord

__all__ = ["Agree", "Judge", "Plan", "backpropagate", "train"]

Judge = Callable[[nn.Module], Mapping[str, float]]
"""A model -> its scores on the validation pictures, "mask/AP", "box/AP", and its losses there, "loss/..."."""

Agree = Callable[[Mapping[str, float], DivergedError | None], dict[str, float]]
"""The mean losses of a rank, and what forbids the step there -> the mean losses of all; raises what forbids it."""

_OBJECTIVE = -2  # and below: the objective's draws, a number for each of a step's batches; samples have indices from 0


@dataclass(frozen=True)
class Plan:
    """How long to train, and how.

    Args:
        device: of the objective.
        num_steps: optimizer updates in all.
        steps_per_check: updates between evaluations; there is one at the end in any case.
        seed: of the objective's draws.
        accumulate: batches a step, of each process.
        mixed_precision: run the forward pass in bf16 where that is safe.
        patience: end after so many evaluations without a better score; None: never.
    """

    device: torch.device
    num_steps: int
    steps_per_check: int
    seed: int = 0
    accumulate: int = 1
    mixed_precision: bool = False
    patience: int | None = None


def train(
    objective: nn.Module,
    batches: Iterable[Batch],
    learner: Learner,
    plan: Plan,
    run: Run,
    judge: Judge | None = None,
    ranks: Ranks = ALONE,
    interrupts: Interrupts | None = None,
) -> None:
    """Run the steps that `run` has not done yet.

    Args:
        objective: (Batch, torch.Generator) -> named scalar losses; wrapped by `ranks`.
        batches: `plan.accumulate` of them for each step that is left.
        learner: of the objective's model.
        plan: how long, and how.
        run: where records, weights and checkpoints go; it knows the last step done.
        judge: scores the model; None: there are no validation pictures, the last weights are the best.
        ranks: the processes that train together; all take the same steps.
        interrupts: what a judge of several processes heeds.

    Raises:
        DivergedError: a loss or a gradient is not finite; the state is that of the step before, and has been saved
            with a report.
        DataError: a picture can no longer be read; the run has been saved.
        ResourceError: memory ran out in a step; or no batch comes any more, then the run has been saved.
        KeyboardInterrupt, SystemExit, BrokenPipeError: on a signal, or when nobody reads what is shown any more; the
            run has been saved.
        PeerError: another rank failed, and says why.
    """
    objective.train()
    stream = iter(batches)
    watch = Watch(objective, learner, run, ranks)
    with interrupts or Interrupts() as interrupts:
        try:
            _check_if_due(learner, plan, run, judge)
            for step in range(run.standing.step + 1, plan.num_steps + 1):
                if run.is_stale(plan.patience):
                    run.note(f"no better score in {plan.patience} evaluations: stopped after step {step - 1}")
                    break
                micro_batches = [next(stream).to(plan.device) for _ in range(plan.accumulate)]
                attempt = partial(_attempt, step, objective, micro_batches, learner, plan, ranks, interrupts)
                with interrupts.held(), OutOfMemory(step, micro_batches), watch.over(step, micro_batches, attempt):
                    run.record(_take_step(step, objective, micro_batches, learner, plan, ranks, interrupts))
                _check_if_due(learner, plan, run, judge)
                interrupts.check()
            run.finish(learner)
        except (KeyboardInterrupt, SystemExit, BrokenPipeError, DataError, ResourceError, PeerError) as error:
            if not interrupts.torn:
                run.save(learner, must=not isinstance(error, PANetError))
            if isinstance(error, KeyboardInterrupt | SystemExit):  # of all ranks: let the first one finish saving
                ranks.wait()
            raise


def _take_step(
    step: int,
    objective: nn.Module,
    micro_batches: Sequence[Batch],
    learner: Learner,
    plan: Plan,
    ranks: Ranks,
    interrupts: Interrupts,
) -> StepRecord:
    """Take a step over the batches of all ranks: batch i of rank r is number i * size + r of it."""
    means = _attempt(step, objective, micro_batches, learner, plan, ranks, interrupts)
    ranks.average_statistics(learner.model)
    rate, grad_norm = _update(step, learner, ranks)
    return StepRecord(step, means, rate, grad_norm)


def _attempt(
    step: int,
    objective: nn.Module,
    micro_batches: Sequence[Batch],
    learner: Learner,
    plan: Plan,
    ranks: Ranks,
    interrupts: Interrupts,
) -> dict[str, float]:
    """Set the gradients of a step, as all ranks agree on them."""

    def agree(means: Mapping[str, float], problem: DivergedError | None) -> dict[str, float]:
        agreed, stop = ranks.agree(means, problem, interrupts.noted)
        interrupts.agree(stop)
        return agreed

    return backpropagate(step, objective, micro_batches, learner, plan, (ranks.rank, ranks.size), agree)


def backpropagate(
    step: int,
    objective: nn.Module,
    micro_batches: Sequence[Batch],
    learner: Learner,
    plan: Plan,
    share: tuple[int, int],
    agree: Agree,
) -> dict[str, float]:
    """Set the gradients of a step, as they are in its first attempt and in every other; give the mean losses.

    Args:
        step: 1, 2, ...
        objective: (Batch, torch.Generator) -> named scalar losses.
        micro_batches: of this rank.
        learner: of the objective's model.
        plan: of the run.
        share: this rank, and how many there are.
        agree: called before the last gradients.

    Raises:
        DivergedError: by `agree`.
    """
    learner.optimizer.zero_grad(set_to_none=True)
    count, (rank, num_ranks) = len(micro_batches), share
    means: dict[str, float] = {}
    problem: DivergedError | None = None
    for i, batch in enumerate(micro_batches):
        generator = sample_generator(plan.seed, step, _OBJECTIVE - (i * num_ranks + rank))
        with gradients_shared(objective, wanted=i == count - 1):
            with torch.autocast(plan.device.type, torch.bfloat16, enabled=plan.mixed_precision):
                losses: dict[str, Tensor] = objective(batch, generator)
            total = torch.stack([loss.float() for loss in losses.values()]).sum()
            if not torch.isfinite(total):  # one device sync a step; a silent NaN costs the run
                problem = problem or DivergedError("a loss is not finite")
            means = {name: means.get(name, 0.0) + float(loss.detach()) / count for name, loss in losses.items()}
            if i == count - 1:
                means = agree(means, problem)
            (total / count).backward()  # type: ignore[no-untyped-call]  # torch has no types there
    return means


def _update(step: int, learner: Learner, ranks: Ranks) -> tuple[float, float]:
    """Take the step; of what all ranks see alike, the first speaks."""
    try:
        return learner.update(step)
    except DivergedError as error:
        if ranks.is_first:
            raise
        raise PeerError("", error.exit_code) from error


def _check_if_due(learner: Learner, plan: Plan, run: Run, judge: Judge | None) -> None:
    """Evaluate and save at every check and at the end, once: an interrupted evaluation is made up for on resuming.

    Between checks, save now and then.
    """
    step = run.standing.step
    due = step > 0 and (step % plan.steps_per_check == 0 or step == plan.num_steps)
    if due and run.standing.checked_step < step:
        run.check(learner, None if judge is None else judge(learner.judged))
    elif not due:
        run.save_if_due(learner)
