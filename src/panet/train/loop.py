"""The loop: plain PyTorch, and a function of the seed and the step alone, so that a resumed run equals a whole one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from panet.data.dataset import sample_generator
from panet.errors import DataError, DivergedError, PANetError, ResourceError
from panet.structures import Batch
from panet.train.divergence import Watch
from panet.train.interrupts import Interrupts
from panet.train.learner import Learner
from panet.train.memory import OutOfMemory
from panet.train.run import Run, StepRecord

__all__ = ["Judge", "Plan", "backpropagate", "train"]

Judge = Callable[[nn.Module], Mapping[str, float]]
"""A model -> its scores on the validation pictures, "mask/AP", "box/AP", and its losses there, "loss/..."."""

_OBJECTIVE = -2  # marks the objective's draws; samples have indices from 0, the order of an epoch has -1


@dataclass(frozen=True)
class Plan:
    """How long to train, and how.

    Args:
        device: of the objective.
        num_steps: optimizer updates in all.
        steps_per_check: updates between evaluations; there is one at the end in any case.
        seed: of the objective's draws.
        accumulate: batches a step.
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
    objective: nn.Module, batches: Iterable[Batch], learner: Learner, plan: Plan, run: Run, judge: Judge | None = None
) -> None:
    """Run the steps that `run` has not done yet.

    Args:
        objective: (Batch, torch.Generator) -> named scalar losses.
        batches: `plan.accumulate` of them for each step that is left.
        learner: of the objective's model.
        plan: how long, and how.
        run: where records, weights and checkpoints go; it knows the last step done.
        judge: scores the model; None: there are no validation pictures, the last weights are the best.

    Raises:
        DivergedError: a loss or a gradient is not finite; the state is that of the step before, and has been saved
            with a report.
        DataError: a picture can no longer be read; the run has been saved.
        ResourceError: memory ran out in a step; or no batch comes any more, then the run has been saved.
        KeyboardInterrupt, SystemExit, BrokenPipeError: on a signal, or when nobody reads what is shown any more; the
            run has been saved.
    """
    objective.train()
    stream = iter(batches)
    watch = Watch(objective, learner, run)
    with Interrupts() as interrupts:
        try:
            _check_if_due(learner, plan, run, judge)
            for step in range(run.standing.step + 1, plan.num_steps + 1):
                if run.is_stale(plan.patience):
                    run.note(f"no better score in {plan.patience} evaluations: stopped after step {step - 1}")
                    break
                micro_batches = [next(stream).to(plan.device) for _ in range(plan.accumulate)]
                with interrupts.held(), OutOfMemory(step, micro_batches):
                    run.record(_take_step(step, objective, micro_batches, learner, plan, watch))
                _check_if_due(learner, plan, run, judge)
            run.finish(learner)
        except (KeyboardInterrupt, SystemExit, BrokenPipeError, DataError, ResourceError) as error:
            if not interrupts.torn:
                run.save(learner, must=not isinstance(error, PANetError))
            raise


def _take_step(
    step: int, objective: nn.Module, micro_batches: Sequence[Batch], learner: Learner, plan: Plan, watch: Watch
) -> StepRecord:
    attempt = partial(backpropagate, step, objective, micro_batches, learner, plan)
    with watch.over(step, micro_batches, attempt):
        losses = attempt()
        watch.check_statistics()
        rate, grad_norm = learner.update(step)
    return StepRecord(step, losses, rate, grad_norm)


def backpropagate(
    step: int, objective: nn.Module, micro_batches: Sequence[Batch], learner: Learner, plan: Plan
) -> dict[str, float]:
    """Set the gradients of a step, as they are in its first attempt and in every other; give the mean losses.

    Raises:
        DivergedError: a loss is not finite.
    """
    generator = sample_generator(plan.seed, step, _OBJECTIVE)
    learner.optimizer.zero_grad(set_to_none=True)
    sums: dict[str, float] = {}
    for batch in micro_batches:
        with torch.autocast(plan.device.type, torch.bfloat16, enabled=plan.mixed_precision):
            losses: dict[str, Tensor] = objective(batch, generator)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        if not torch.isfinite(total):  # one device sync a step; a silent NaN costs the run
            raise DivergedError("a loss is not finite")
        (total / len(micro_batches)).backward()  # type: ignore[no-untyped-call]
        sums = {name: sums.get(name, 0.0) + float(loss.detach()) for name, loss in losses.items()}
    return {name: value / len(micro_batches) for name, value in sums.items()}


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
