"""The loop: plain PyTorch, and a function of the seed and the step alone, so that a resumed run equals a whole one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from panet.data.dataset import sample_generator
from panet.errors import DataError, DivergedError, PANetError, ResourceError
from panet.structures import Batch
from panet.train.interrupts import Interrupts
from panet.train.learner import Learner
from panet.train.memory import OutOfMemory
from panet.train.run import Run, StepRecord

__all__ = ["Judge", "Plan", "train"]

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
        DivergedError: a loss or a gradient is not finite; the weights are those of the step before.
        DataError: a picture can no longer be read; the run has been saved.
        ResourceError: memory ran out in a step; or no batch comes any more, then the run has been saved.
        KeyboardInterrupt, SystemExit, BrokenPipeError: on a signal, or when nobody reads what is shown any more; the
            run has been saved.
    """
    objective.train()
    stream = iter(batches)
    with Interrupts() as interrupts:
        try:
            _check_if_due(learner, plan, run, judge)
            for step in range(run.standing.step + 1, plan.num_steps + 1):
                if run.is_stale(plan.patience):
                    run.note(f"no better score in {plan.patience} evaluations: stopped after step {step - 1}")
                    break
                micro_batches = [next(stream).to(plan.device) for _ in range(plan.accumulate)]
                with interrupts.held(), OutOfMemory(step, micro_batches):
                    run.record(_take_step(step, objective, micro_batches, learner, plan))
                _check_if_due(learner, plan, run, judge)
                interrupts.check()
            run.finish(learner)
        except (KeyboardInterrupt, SystemExit, BrokenPipeError, DataError, ResourceError) as error:
            if not interrupts.torn:
                run.save(learner, must=not isinstance(error, PANetError))
            raise


def _take_step(
    step: int, objective: nn.Module, micro_batches: Sequence[Batch], learner: Learner, plan: Plan
) -> StepRecord:
    generator = sample_generator(plan.seed, step, _OBJECTIVE)
    learner.optimizer.zero_grad(set_to_none=True)
    sums: dict[str, float] = {}
    for batch in micro_batches:
        with torch.autocast(plan.device.type, torch.bfloat16, enabled=plan.mixed_precision):
            losses: dict[str, Tensor] = objective(batch, generator)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        if not torch.isfinite(total):  # one device sync a step; a silent NaN costs the run
            raise DivergedError(_explain(step, losses, batch))
        (total / len(micro_batches)).backward()  # type: ignore[no-untyped-call]
        sums = {name: sums.get(name, 0.0) + float(loss.detach()) for name, loss in losses.items()}
    rate, grad_norm = learner.update(step)
    means = {name: value / len(micro_batches) for name, value in sums.items()}
    return StepRecord(step, means, rate, grad_norm)


def _explain(step: int, losses: Mapping[str, Tensor], batch: Batch) -> str:
    values = ", ".join(f"{name} {float(loss.detach()):.4g}" for name, loss in losses.items())
    pictures = ", ".join(map(repr, batch.image_ids))
    return f"step {step}: a loss is not finite ({values}) on images {pictures}; lower train.learning_rate"


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
