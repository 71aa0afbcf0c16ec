"""The loop: the same steps however they are cut up, and a stop that loses nothing."""

import contextlib
import itertools
import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from panet.errors import DataError, PANetError, ResourceError
from panet.train.loop import train
from panet.train.run import StepRecord
from panet.weights.checkpoint import load_model


def finish(fakes, folder: Path, optimizer: str = "sgd", ema_decay: float | None = None, judge=None, **changes):
    """Train from where the folder's run stands to the end of the plan; give all tensors."""
    objective, plan, run = fakes.objective(), fakes.plan(**changes), fakes.run(folder)
    learner = fakes.learner(objective.model, optimizer, ema_decay)
    run.start(learner)
    start = run.standing.step * plan.accumulate
    train(objective, fakes.batches(start), learner, plan, run, judge)
    run.close()
    return {name: tensor.clone() for name, tensor in learner.tensors().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def judge_by_weights(model: nn.Module) -> dict[str, float]:
    return {"box/AP": 0.5, "mask/AP": model.bias.item(), "loss/total": 1.0}


def test_the_loss_falls(fakes, run_folder: Path) -> None:
    finish(fakes, run_folder)
    totals = [line["total"] for line in lines(run_folder)]
    assert len(totals) == 10
    assert totals[-1] < 0.5 * totals[0]


def test_the_same_seed_twice_gives_the_same_bits_and_another_seed_others(fakes, tmp_path: Path) -> None:
    first, second = (finish(fakes, tmp_path / name) for name in "ab")
    assert same(first, second)
    assert not same(first, finish(fakes, tmp_path / "c", seed=4))


def test_every_step_has_draws_of_its_own(fakes, run_folder: Path) -> None:
    class Drawing(type(fakes.objective())):
        def forward(self, batch, generator) -> dict[str, Tensor]:
            draws.append(torch.rand(1, generator=generator).item())
            return super().forward(batch, generator)

    draws: list[float] = []
    objective = Drawing()
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    train(objective, fakes.batches(), learner, fakes.plan(num_steps=3, accumulate=2), run)
    assert len(set(draws)) == 6


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_resumed_run_equals_a_whole_one_bit_for_bit(fakes, tmp_path: Path, optimizer: str, ema_decay) -> None:
    settings = {"optimizer": optimizer, "ema_decay": ema_decay, "judge": judge_by_weights, "accumulate": 2}
    whole = finish(fakes, tmp_path / "whole", **settings)
    # 6 is no step at which a plan of 10 would be checked: the plan's end is.
    for num_steps in (4, 6, 10):
        resumed = finish(fakes, tmp_path / "parts", **settings, num_steps=num_steps)
    assert same(whole, resumed)
    assert [line for line in lines(tmp_path / "parts") if "losses" in line] == [
        line for line in lines(tmp_path / "whole") if "losses" in line
    ]
    last = [load_model(tmp_path / name / "weights" / "last.safetensors").state for name in ("whole", "parts")]
    assert same(*last)


def test_a_run_that_is_complete_does_nothing_more(fakes, run_folder: Path) -> None:
    def refuse(model: nn.Module) -> dict[str, float]:
        raise AssertionError("the last weights were judged already")

    first = finish(fakes, run_folder, judge=judge_by_weights)
    before = (run_folder / "metrics.jsonl").read_text()
    assert same(first, finish(fakes, run_folder, judge=refuse))
    assert (run_folder / "metrics.jsonl").read_text() == before


def test_two_batches_of_one_give_the_mean_gradient(fakes) -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(1, 1, bias=False)

        def forward(self, batch, generator) -> dict[str, Tensor]:
            return {"class": self.model.weight.sum() * batch.image_ids[0]}

    objective = Sum()
    before = objective.model.weight.item()
    learner = fakes.learner(objective.model)
    learner.optimizer.param_groups[0].update(weight_decay=0.0, lr=1.0, momentum=0.0)

    class Silent:
        standing = type("Standing", (), {"step": 0, "checked_step": 1})()
        is_stale = staticmethod(lambda patience: False)
        record = staticmethod(lambda record: records.append(record))
        finish = save_if_due = staticmethod(lambda learner: None)

    records: list = []
    train(objective, fakes.batches(), learner, fakes.plan(num_steps=1, accumulate=2), Silent())
    # The gradients are the ids 1 and 2, their mean 1.5; the rate is warmed up from a tenth.
    assert before - objective.model.weight.item() == pytest.approx(0.1 * 1.5)
    assert records[0].gradient_norm == pytest.approx(1.5)


def test_mixed_precision_runs_the_forward_pass_in_bf16(fakes, run_folder: Path) -> None:
    seen = []
    objective = fakes.objective()
    objective.model.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    train(objective, fakes.batches(), learner, fakes.plan(num_steps=1, mixed_precision=True), run)
    assert seen == [torch.bfloat16]
    assert objective.model.weight.dtype == torch.float32


def test_the_weights_with_the_best_score_are_kept_and_patience_ends_the_run(fakes, run_folder: Path) -> None:
    scores = iter([0.2, 0.5, 0.4, 0.5, 0.9])

    def judge(model: nn.Module) -> dict[str, float]:
        return {"box/AP": 0.0, "mask/AP": next(scores)}

    finish(fakes, run_folder, judge=judge, num_steps=10, steps_per_check=2, patience=2)
    assert load_model(run_folder / "weights" / "best.safetensors").notes["step"] == "4"
    assert load_model(run_folder / "weights" / "last.safetensors").notes["step"] == "8"
    assert fakes.notes == [
        "step 2: box/AP 0.000  mask/AP 0.200  (best)",
        "step 4: box/AP 0.000  mask/AP 0.500  (best)",
        "step 6: box/AP 0.000  mask/AP 0.400",
        "step 8: box/AP 0.000  mask/AP 0.500",
        "no better score in 2 evaluations: stopped after step 8",
    ]


def test_an_undefined_score_beats_nothing_but_nothing(fakes, run_folder: Path) -> None:
    scores = iter([math.nan, 0.0, math.nan])
    finish(fakes, run_folder, judge=lambda _: {"box/AP": next(scores)}, num_steps=6, steps_per_check=2)
    assert load_model(run_folder / "weights" / "best.safetensors").notes["step"] == "4"
    assert [line["metrics"]["box/AP"] for line in lines(run_folder) if "metrics" in line] == [None, 0.0, None]


def test_the_averaged_weights_are_judged_and_shipped(fakes, run_folder: Path) -> None:
    judged = []
    tensors = finish(fakes, run_folder, ema_decay=0.9, judge=lambda model: judged.append(model) or {"box/AP": 0.1})
    shipped = load_model(run_folder / "weights" / "last.safetensors").state
    assert torch.equal(shipped["weight"], tensors["average.module.weight"])
    assert not torch.equal(shipped["weight"], tensors["model.weight"])
    assert torch.equal(judged[-1].weight, shipped["weight"])


class InterruptedObjective(nn.Module):
    """Signals this process in the forward pass of a step, so many times."""

    def __init__(self, objective: nn.Module, number: int, step: int, times: int = 1) -> None:
        super().__init__()
        self.model, self.objective = objective.model, objective
        self.number, self.times = number, times
        self.calls = itertools.count(1)
        self.step = step

    def forward(self, batch, generator) -> dict[str, Tensor]:
        losses = self.objective(batch, generator)
        if next(self.calls) == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)
        return losses


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)]
)
def test_an_interrupted_step_is_finished_and_saved_so_that_resuming_loses_nothing(
    fakes, tmp_path: Path, number: int, error: type[BaseException]
) -> None:
    whole = finish(fakes, tmp_path / "whole")
    handler = signal.getsignal(number)
    objective = InterruptedObjective(fakes.objective(), number, step=6)
    run, learner = fakes.run(tmp_path / "parts"), fakes.learner(objective.model)
    with pytest.raises(error):
        train(objective, fakes.batches(), learner, fakes.plan(), run)
    assert run.standing.step == 6
    assert signal.getsignal(number) is handler
    assert same(whole, finish(fakes, tmp_path / "parts"))
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")


def test_a_hangup_that_is_ignored_stays_ignored(fakes, run_folder: Path) -> None:
    objective = InterruptedObjective(fakes.objective(), signal.SIGHUP, step=6)
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        train(objective, fakes.batches(), learner, fakes.plan(), run)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.standing.step == 10


def test_a_signal_that_python_passed_over_is_raised_after_the_check(fakes, run_folder: Path) -> None:
    def judge(model: nn.Module) -> dict[str, float]:
        with contextlib.suppress(KeyboardInterrupt):  # as in a destructor
            os.kill(os.getpid(), signal.SIGINT)
        return {"box/AP": 0.5}

    with pytest.raises(KeyboardInterrupt):
        finish(fakes, run_folder, judge=judge)
    assert sorted(path.stem for path in (run_folder / "checkpoint").iterdir())[-1] == "step-00000004"


@pytest.mark.parametrize("error", [DataError("a.png: no such file"), ResourceError("a process died")])
def test_when_no_batch_comes_any_more_the_steps_done_are_saved(fakes, run_folder: Path, error: PANetError) -> None:
    def batches():
        yield from itertools.islice(fakes.batches(), 6)
        raise error

    objective = fakes.objective()
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    with pytest.raises(type(error)):
        train(objective, batches(), learner, fakes.plan(), run)
    assert (run_folder / "checkpoint" / "step-00000006.safetensors").exists()


def test_a_step_in_which_memory_ran_out_is_not_saved(fakes, run_folder: Path) -> None:
    class Large(type(fakes.objective())):
        def forward(self, batch, generator) -> dict[str, Tensor]:
            if batch.image_ids == [6]:
                raise MemoryError
            return super().forward(batch, generator)

    objective = Large()
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    with pytest.raises(ResourceError, match=r"step 6: memory ran out on a batch of shape \(1, 3, 32, 32\)"):
        train(objective, fakes.batches(), learner, fakes.plan(), run)
    assert [path.stem for path in (run_folder / "checkpoint").iterdir()] == ["step-00000004"]


def test_a_run_that_nobody_watches_any_more_is_saved(fakes, run_folder: Path) -> None:
    def stop(record: StepRecord) -> None:
        if record.step == 6:
            raise BrokenPipeError

    objective = fakes.objective()
    run, learner = fakes.run(run_folder, on_step=stop), fakes.learner(objective.model)
    with pytest.raises(BrokenPipeError):
        train(objective, fakes.batches(), learner, fakes.plan(), run)
    assert (run_folder / "checkpoint" / "step-00000006.safetensors").exists()


def test_a_second_signal_does_not_wait_and_saves_nothing_half_done(fakes, run_folder: Path) -> None:
    objective = InterruptedObjective(fakes.objective(), signal.SIGINT, step=6, times=2)
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    with pytest.raises(KeyboardInterrupt):
        train(objective, fakes.batches(), learner, fakes.plan(), run)
    assert [path.stem for path in (run_folder / "checkpoint").iterdir()] == ["step-00000004"]


def test_an_interrupted_evaluation_is_made_up_for(fakes, run_folder: Path) -> None:
    def interrupt(model: nn.Module) -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish(fakes, run_folder, judge=interrupt)
    finish(fakes, run_folder, judge=judge_by_weights)
    assert [line["step"] for line in lines(run_folder) if "metrics" in line] == [4, 8, 10]
