"""What `panet bench` does once its options are read. Heavy to import."""

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from panet.bench.candidates import TORCHVISION, Workload, naive_form, panet_run, prepare, torchvision_run
from panet.bench.measure import CLOCKS, conv_rate, linear_rate, ratio, take_turns
from panet.bench.stages import timed_forward
from panet.bench.training import draw_batch, panet_step, torchvision_step
from panet.cli.dry_run import meta_model, run_stages
from panet.cli.memory import SWITCH
from panet.config import Config, ModelConfig
from panet.data.batching import make_image_batch
from panet.data.build import build_normalise, build_test_loader
from panet.data.formats.reading import read_part
from panet.data.formats.source import find_source
from panet.errors import ConfigError, DataError, nearest
from panet.evaluate.results import with_ids_of
from panet.evaluate.runner import evaluate
from panet.model.build import build_model
from panet.model.fast import optimise
from panet.model.panet import PANet
from panet.objective.build import build_objective
from panet.settings import read_config
from panet.structures import Size
from panet.weights.checkpoint import restore

__all__ = ["BenchPlan", "compare_scores", "read_plan", "read_size", "time_inference", "time_training"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_RIVALS = {f"torchvision {version}": version for version in TORCHVISION}
_INFERENCE = [*_RIVALS, "naive", "plain", "fast fp32", "fast bf16"]
_TRAINING = [*_RIVALS, "naive", "fp32", "bf16"]
_NUM_MASKS = 100


@dataclass(frozen=True)
class BenchPlan:
    """What is measured, and how.

    Args:
        config: of PANet.
        num_proposals: RoIs of a picture.
        rounds: times that all take their turn.
        clock: its name in `bench.measure.CLOCKS`.
        only: the candidates, by name; empty: all.
    """

    config: Config
    num_proposals: int
    rounds: int
    clock: str
    only: tuple[str, ...]

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Give the names that are asked for; ConfigError for one that is not there."""
        for name in self.only:
            if name not in names:
                raise ConfigError(f"--only {name!r}: unknown{nearest(name, names)}: choose from {', '.join(names)}")
        return [name for name in names if not self.only or name in self.only]


def read_plan(
    config: Path | None,
    model: str | None,
    assignments: Sequence[str],
    num_proposals: int,
    rounds: int,
    threads: int | None,
    clock: str,
    only: Sequence[str],
) -> BenchPlan:
    """Read the settings, and set the number of threads."""
    settings = read_config(config, model, assignments)
    if settings.model.arithmetic == "legacy":
        raise ConfigError("model.arithmetic: legacy: only models of modern arithmetic are timed stage by stage")
    if threads is not None:
        torch.set_num_threads(threads)
    return BenchPlan(settings, num_proposals, rounds, clock, tuple(only))


def read_size(text: str) -> Size:
    """Read "800x1333"; ConfigError for anything else."""
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and min(int(height), int(width)) >= 32):
        raise ConfigError(f"--sizes {text!r}: expected height x width from 32 px on, such as 800x1333")
    return int(height), int(width)


def time_inference(console: Console, plan: BenchPlan, size: Size) -> None:
    """Print seconds a picture, ratios, the share of the machine's own rate, and the fast forms' stages."""
    names, clock = plan.chosen(_INFERENCE), CLOCKS[plan.clock]
    workload, normalise = Workload(size, plan.num_proposals), build_normalise(plan.config.model)
    models: dict[str, PANet] = {}
    runs: dict[str, Callable[[], object]] = {}
    for name in names:
        if name in _RIVALS:
            runs[name] = torchvision_run(_RIVALS[name], workload)
            continue
        model = build_model(plan.config.model, load_backbone=False).train(False)
        prepare(model, workload, normalise)
        if name == "naive":
            model = naive_form(model)
        elif name.startswith("fast"):
            model = optimise(model, _DTYPES[name.split()[1]])
        models[name], runs[name] = model, panet_run(model, workload, normalise, naive=name == "naive")
    seconds = take_turns(runs, plan.rounds, clock)
    flops = _count_flops(plan.config.model, size, plan.num_proposals)
    rates = {name: conv_rate(dtype, clock) for name, dtype in _DTYPES.items()}
    _print_head(console, plan, f"{size[0]} x {size[1]} px, {plan.num_proposals} proposals")
    shares = {
        name: flops / statistics.median(seconds[name]) / rates["bf16" if name.endswith("bf16") else "fp32"]
        for name in models
    }
    console.print(_ratio_table(seconds, shares))
    for name, dtype in _DTYPES.items():
        console.print(f"this machine, {name}: conv {rates[name]:.0f}, linear {linear_rate(dtype, clock):.0f} GFLOP/s")
    console.print(f"counted for PANet: {flops:.0f} GFLOP")
    batch = make_image_batch([workload.pixels], [size], normalise)
    for name, model in models.items():
        if name.startswith("fast"):
            with torch.inference_mode():
                found, stages = timed_forward(model, batch, clock)
            listed = ", ".join(f"{stage} {value:.3f}" for stage, value in stages.items())
            console.print(f"{name}, {len(found[0])} detections: {listed}", soft_wrap=True)


def time_training(console: Console, plan: BenchPlan, size: Size) -> None:
    """Print seconds a training step of two pictures, and ratios."""
    names, config = plan.chosen(_TRAINING), plan.config
    batch = draw_batch(2, size, config.model.num_classes)
    runs: dict[str, Callable[[], object]] = {}
    for name in names:
        if name in _RIVALS:
            runs[name] = torchvision_step(_RIVALS[name], batch, config.model.num_classes)
            continue
        model = build_model(config.model, load_backbone=False)
        objective = build_objective(naive_form(model) if name == "naive" else model, config.objective, config.model.rpn)
        runs[name] = panet_step(objective.train(), batch, _DTYPES.get(name, torch.float32))
    seconds = take_turns(runs, plan.rounds, CLOCKS[plan.clock])
    _print_head(console, plan, f"training step, 2 pictures of {size[0]} x {size[1]} px")
    console.print(_ratio_table(seconds, {}))


def compare_scores(console: Console, model_name: str, root: Path) -> None:
    """Print the AP of a model on a data set's val part in fp32 and in bf16, and what the plain network gives."""
    val = find_source(root).val
    if val is None:
        raise DataError(f"{root}: has no val part with pictures")
    dataset = read_part(val)
    plain, model_file = restore(model_name)
    label_map = with_ids_of(model_file.label_map, dataset.label_map)
    loader = build_test_loader(dataset, model_file.config, workers=0)
    forms = {"plain fp32": plain, **{f"fast {name}": optimise(plain, dtype) for name, dtype in _DTYPES.items()}}
    table = Table("form", "box AP", "mask AP", "pictures/s")
    for name, form in forms.items():
        done = evaluate(form, loader, dataset, max(100, plain.max_detections), label_map=label_map)
        scores = [f"{done.metrics[key]:.4f}" if key in done.metrics else "-" for key in ("box/AP", "mask/AP")]
        table.add_row(name, *scores, f"{done.num_images / done.seconds:.2f}")
    console.print(table)


def _count_flops(config: ModelConfig, size: Size, num_proposals: int) -> float:
    """Count the GFLOP of convs and matrix products, a multiplication and an addition as two; shapes alone."""
    model = meta_model(config)
    model.eval()
    padded = (-(-size[0] // 32) * 32, -(-size[1] // 32) * 32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run_stages(model, 1, padded, num_proposals, _NUM_MASKS)
    return float(counter.get_total_flops() / 1e9)


def _print_head(console: Console, plan: BenchPlan, what: str) -> None:
    memory = "as it is" if os.environ.get(SWITCH) == "0" else "told to keep memory"
    console.print(
        f"{what}; {torch.get_num_threads()} threads, median of {plan.rounds} rounds, {plan.clock} time; "
        f"allocator {memory}"
    )


def _ratio_table(seconds: Mapping[str, list[float]], shares: Mapping[str, float]) -> Table:
    """Tabulate medians, the lowest, each candidate by every other, and the share of the machine's conv rate."""
    table = Table("", "seconds", "lowest", *(f"/ {name}" for name in seconds), *(["of conv rate"] if shares else []))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, own in seconds.items():
        ratios = [f"{ratio(own, other):.2f}" for other in seconds.values()]
        share = [f"{shares[name]:.0%}" if name in shares else ""] if shares else []
        table.add_row(name, f"{statistics.median(own):.2f}", f"{min(own):.2f}", *ratios, *share)
    return table
