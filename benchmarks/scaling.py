"""What a second process brings: pictures a second of 1 and 2 processes, a thread each, and where their time goes.

    python benchmarks/scaling.py [--steps 20] [--rounds 3] [--side 256] [--workers 0]

`panet_lite` from random weights on made pictures, batches of 2 in each process, dealt as in training. Rounds of one
process, of two that train together, and of two that do not know each other come in turn. What counts is the fastest
step of all rounds, the one that other work on the machine disturbed least. The last row is what the machine gives at
best: cores share memory and clock.

Every second step exchanges nothing and is not counted: what the backward pass of the others takes longer, and the
meeting of the processes before it, is communication, waiting for the other process included; where nothing is sent, it
is noise. Loading is the wait for the next batch. Processor time is that of a step of one process, the median, with the
thread that sends: it tells how busy the machine was, being less than the time of a step where something else ran.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from panet.config import Config
from panet.data.build import build_train_loader
from panet.data.coco import read_coco
from panet.data.dataset import sample_generator
from panet.data.synthetic import write_shapes
from panet.model.build import build_model
from panet.objective.build import build_objective
from panet.settings import read_config
from panet.train.build import build_learner
from panet.train.distributed import Ranks, gradients_shared, joined

NUM_EARLY = 2  # pairs of steps that are not timed: memory is laid out, processes meet
BATCH_SIZE = 2
ROWS = {"1 process": 1, "2 processes": 2, "2 that do not talk": 2}


class Times(NamedTuple):
    """Seconds of a step of one process."""

    load: float
    forward: float
    meet: float
    backward: float
    update: float
    backward_alone: float
    processor: float

    @property
    def step(self) -> float:
        return self.load + self.forward + self.meet + self.backward + self.update

    @property
    def communication(self) -> float:
        return self.meet + max(self.backward - self.backward_alone, 0)


def settings(side: int, workers: int) -> Config:
    """Give the settings of a run on pictures of `side` px."""
    sizes = [f"data.short_sides=[{side}]", *(f"{key}={side}" for key in ("data.max_side", "model.short_side"))]
    rest = [f"model.max_side={side}", "model.backbone.weights=none", "model.backbone.frozen_stages=0"]
    rest += ["model.num_classes=4", f"data.workers={workers}", f"data.batch_size={BATCH_SIZE}"]
    return read_config(None, "panet_lite", [*sizes, *rest])


def measure(folder: Path, config: Config, num_steps: int, ranks: Ranks) -> Times:
    """Train `num_steps` timed steps; each is followed by one in which nothing is exchanged."""
    dataset = read_coco(folder / "train.json", folder / "images")
    model = build_model(config.model, seed=0, load_backbone=False)
    objective = ranks.wrap(build_objective(model, config.objective, config.model.rpn)).train()
    learner = build_learner(model, config.train, BATCH_SIZE, 10 * num_steps, ranks.size)
    count = 2 * (NUM_EARLY + num_steps)
    share = (ranks.rank, ranks.size)
    batches = iter(build_train_loader(dataset, config.data, config.model, 0, 0, count * ranks.size, share=share))
    timed: list[tuple[float, ...]] = []
    alone: list[float] = []
    processor: list[float] = []
    for step in range(count):
        talks = step % 2 == 0
        begun = time.process_time()
        marks = [time.perf_counter()]
        batch = next(batches)
        marks.append(time.perf_counter())
        learner.optimizer.zero_grad(set_to_none=True)
        with gradients_shared(objective, wanted=talks):
            losses = objective(batch, sample_generator(0, step, ranks.rank))
            marks.append(time.perf_counter())
            if talks:
                ranks.agree({name: float(loss.detach()) for name, loss in losses.items()}, None, None)
            marks.append(time.perf_counter())
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch has no types there
        marks.append(time.perf_counter())
        if talks:
            learner.update(step // 2 + 1)
        marks.append(time.perf_counter())
        seconds = tuple(after - before for before, after in itertools.pairwise(marks))
        if step // 2 >= NUM_EARLY and talks:
            timed.append(seconds)
            processor.append(time.process_time() - begun)
        elif step // 2 >= NUM_EARLY:
            alone.append(seconds[3])
    load, forward, meet, backward, update = min(timed, key=sum)
    return Times(load, forward, meet, backward, update, min(alone), statistics.median(processor))


def child(arguments: argparse.Namespace) -> None:
    """Measure in one of the processes; the first prints."""
    torch.set_num_threads(1)
    config = settings(arguments.side, arguments.workers)
    with joined() as ranks:
        times = measure(arguments.child, config, arguments.steps, ranks)
        if ranks.is_first:
            print(json.dumps(times), flush=True)


def run_row(row: str, arguments: argparse.Namespace, folder: Path) -> Times:
    """Run the processes of a row; give the times of the slower."""
    words = [str(Path(__file__).resolve()), "--child", str(folder)]
    words += [f"--{name}={getattr(arguments, name)}" for name in ("steps", "side", "workers")]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    commands = {"1 process": [words], "2 processes": [launcher + words], "2 that do not talk": [words, words]}[row]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    printed = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"{row}: a process failed")
    return max((Times(*json.loads(text.splitlines()[-1])) for text in printed), key=lambda times: times.step)


def num_gradient_bytes(config: Config) -> int:
    """Count the bytes that each step sums over the processes: four a trained parameter."""
    model: nn.Module = build_model(config.model, seed=0, load_backbone=False)
    return 4 * sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=256, help="of the pictures, px")
    parser.add_argument("--workers", type=int, default=0, help="processes that read, for each that trains")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shapes(folder, num_train=32, num_val=1, size=arguments.side, seed=0)
        rounds = [{row: run_row(row, arguments, folder) for row in ROWS} for _ in range(arguments.rounds)]
    best = {row: min((times[row] for times in rounds), key=lambda times: times.step) for row in ROWS}
    config = settings(arguments.side, arguments.workers)
    megabytes = num_gradient_bytes(config) / 1e6
    print(f"panet_lite, {arguments.side} px, {BATCH_SIZE} pictures a process, {arguments.workers} workers, gloo;")
    print(f"{megabytes:.1f} MB of gradients a step; fastest of {arguments.rounds} x {arguments.steps} steps")
    print("| | pictures/s | of 1 process | s a step | communication | loading | processor s |")
    print("|---|---|---|---|---|---|---|")
    single = BATCH_SIZE / best["1 process"].step
    for row, times in best.items():
        rate = ROWS[row] * BATCH_SIZE / times.step
        shares = f"{times.communication / times.step:.1%} | {times.load / times.step:.1%} | {times.processor:.3f}"
        print(f"| {row} | {rate:.2f} | {rate / single:.2f} | {times.step:.3f} | {shares} |")


if __name__ == "__main__":
    main()
