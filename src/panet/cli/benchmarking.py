"""What `panet bench` does once its options are read. Heavy to import."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from panet.bench.measure import CLOCKS, conv_rate, linear_rate, ratio, take_turns
from panet.bench.plot import draw_growth
from panet.bench.process import Found, Process
from panet.cli.bench_candidates import INFERENCE, TRAINING, Entry, start
from panet.cli.estimate import meta_model, run_stages
from panet.config import Config, ModelConfig
from panet.data.build import build_test_loader
from panet.data.formats.reading import read_part
from panet.data.formats.source import find_source
from panet.data.images import printable
from panet.errors import ConfigError, DataError, nearest
from panet.evaluate.results import with_ids_of
from panet.evaluate.runner import evaluate
from panet.model.fast import optimise
from panet.settings import read_config
from panet.structures import Size
from panet.weights.checkpoint import restore

__all__ = [
    "BenchPlan",
    "Measured",
    "check_plot",
    "compare_scores",
    "read_plan",
    "read_size",
    "time_inference",
    "time_training",
    "write_plot",
]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_NUM_MASKS = 100
_MIB = 2**20


@dataclass(frozen=True)
class BenchPlan:
    """What is measured, and how.

    Args:
        config: of PANet.
        rounds: times that all take their turn.
        threads: of torch.
        clock: its name in `bench.measure.CLOCKS`.
        only: the candidates, by name; empty: the usual ones.
    """

    config: Config
    rounds: int
    threads: int
    clock: str
    only: tuple[str, ...]

    def chosen(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """Give the entries that are asked for; ConfigError for one that is not there."""
        for name in self.only:
            if name not in entries:
                raise ConfigError(f"--only {name!r}: unknown{nearest(name, entries)}: choose from {', '.join(entries)}")
        return {name: each for name, each in entries.items() if (name in self.only if self.only else each.usual)}


@dataclass(frozen=True)
class Measured:
    """What came out for pictures of one size.

    Args:
        size: (height, width) px.
        num_proposals: RoIs of a picture; None in training.
        seconds: candidate -> seconds of each round.
        peaks: candidate -> bytes.
    """

    size: Size
    num_proposals: int | None
    seconds: dict[str, list[float]]
    peaks: dict[str, int]


def read_plan(
    config: Path | None,
    model: str | None,
    assignments: Sequence[str],
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
    return BenchPlan(settings, rounds, torch.get_num_threads(), clock, tuple(only))


def read_size(text: str) -> Size:
    """Read "800x1333"; ConfigError for anything else."""
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and min(int(height), int(width)) >= 32):
        raise ConfigError(f"--sizes {text!r}: expected height x width from 32 px on, such as 800x1333")
    return int(height), int(width)


def time_inference(console: Console, plan: BenchPlan, size: Size, num_proposals: int) -> Measured:
    """Print seconds a picture, ratios, memory, the share of the machine's own rate, and the stages of PANet."""
    entries, clock = plan.chosen(INFERENCE), CLOCKS[plan.clock]
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(start(each, plan.config, size, num_proposals, plan.threads, plan.clock))
            for name, each in entries.items()
        }
        seconds = take_turns(processes, plan.rounds)
        peaks = {name: process.peak() for name, process in processes.items()}
        stages = {name: process.stages() for name, process in processes.items()}
        found = {name: process.found() for name, process in processes.items()}
    flops = _count_flops(plan.config.model, size, num_proposals)
    rates = {name: conv_rate(dtype, clock) for name, dtype in _DTYPES.items()}
    shares = {
        name: flops / statistics.median(seconds[name]) / rates["bf16" if name.endswith("bf16") else "fp32"]
        for name, each in stages.items()
        if each
    }
    _print_head(console, plan, f"{size[0]} x {size[1]} px, {num_proposals} proposals")
    console.print(_ratio_table(seconds, peaks, 1, shares))
    for name, dtype in _DTYPES.items():
        console.print(f"this machine, {name}: conv {rates[name]:.0f}, linear {linear_rate(dtype, clock):.0f} GFLOP/s")
    console.print(f"counted for PANet: {flops:.0f} GFLOP")
    for name, each in stages.items():
        if each:
            listed = ", ".join(f"{stage} {value:.3f}" for stage, value in each.items())
            console.print(f"{name}, seconds: {listed}", soft_wrap=True)
    _compare_found(console, found)
    return Measured(size, num_proposals, seconds, peaks)


def time_training(console: Console, plan: BenchPlan, size: Size) -> Measured:
    """Print seconds a training step of two pictures, ratios and memory."""
    with ExitStack() as stack:
        processes: dict[str, Process] = {
            name: stack.enter_context(start(each, plan.config, size, None, plan.threads, plan.clock))
            for name, each in plan.chosen(TRAINING).items()
        }
        seconds = take_turns(processes, plan.rounds)
        peaks = {name: process.peak() for name, process in processes.items()}
    _print_head(console, plan, f"training step, 2 pictures of {size[0]} x {size[1]} px")
    console.print(_ratio_table(seconds, peaks, 2, {}))
    return Measured(size, None, seconds, peaks)


def compare_scores(console: Console, model_name: str, root: Path) -> None:
    """Print the AP of a model on a data set's val part: of the plain network, and of the fast one in fp32 and bf16."""
    val = find_source(root).val
    if val is None:
        raise DataError(f"{root}: has no val part with pictures")
    dataset = read_part(val)
    plain, model_file = restore(model_name)
    label_map = with_ids_of(model_file.label_map, dataset.label_map)
    loader = build_test_loader(dataset, model_file.config, workers=0)
    forms = {"plain fp32": plain, **{f"fast {name}": optimise(plain, dtype) for name, dtype in _DTYPES.items()}}
    table = Table("form", "box AP", "less plain", "mask AP", "less plain", "pictures/s")
    first: Mapping[str, float] = {}
    for name, form in forms.items():
        done = evaluate(form, loader, dataset, max(100, plain.max_detections), label_map=label_map)
        first = first or done.metrics
        scores = [
            f"{done.metrics[key] - less:{places}}" if key in done.metrics else "-"
            for key in ("box/AP", "mask/AP")
            for less, places in ((0.0, ".5f"), (first.get(key, 0.0), "+.5f"))
        ]
        table.add_row(name, *scores, f"{done.num_images / done.seconds:.2f}")
    console.print(table)


def check_plot(path: Path, num_sizes: int, num_counts: int) -> None:
    """Refuse what cannot be drawn before anything is measured: ConfigError."""
    if path.suffix.lower() != ".png" or path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"--plot {printable(path)}: expected the name of a .png file in a folder that exists")
    if max(num_sizes, num_counts) < 2 or min(num_sizes, num_counts) > 1:
        raise ConfigError("--plot: shows how seconds grow: repeat --sizes, or repeat --proposals, not both")


def write_plot(console: Console, path: Path, measured: Sequence[Measured]) -> None:
    """Draw seconds over megapixels or over proposals."""
    with_counts = len({each.num_proposals for each in measured}) > 1
    title = "seconds, over proposals" if with_counts else "seconds, over megapixels"
    places = [float(each.num_proposals or 0) if with_counts else each.size[0] * each.size[1] / 1e6 for each in measured]
    lines = {name: [statistics.median(each.seconds[name]) for each in measured] for name in measured[0].seconds}
    draw_growth(title, places, lines).save(path)
    console.print(f"written: {printable(path)}", markup=False, soft_wrap=True)


def _count_flops(config: ModelConfig, size: Size, num_proposals: int) -> float:
    """Count the GFLOP of convs and matrix products, a multiplication and an addition as two; shapes alone."""
    model = meta_model(config)
    model.eval()
    padded = (-(-size[0] // 32) * 32, -(-size[1] // 32) * 32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run_stages(model, 1, padded, num_proposals, _NUM_MASKS)
    return float(counter.get_total_flops() / 1e9)


def _compare_found(console: Console, found: Mapping[str, Found | None]) -> None:
    """Print how far the detections of the fast form in fp32 are from those of the naive one."""
    naive, fast = found.get("naive"), found.get("fast fp32")
    if naive is None or fast is None:
        return
    same = naive.labels == fast.labels
    line = f"fast fp32 and naive: {len(fast.labels)} detections, labels {'the same' if same else 'differ'}"
    if same and naive.labels:
        boxes = (torch.tensor(naive.boxes) - torch.tensor(fast.boxes)).abs().max()
        scores = (torch.tensor(naive.scores) - torch.tensor(fast.scores)).abs().max()
        line += f", boxes within {boxes:.1e} px, scores within {scores:.1e}"
    console.print(line, soft_wrap=True)


def _print_head(console: Console, plan: BenchPlan, what: str) -> None:
    console.print(f"{what}; {plan.threads} threads, median of {plan.rounds} rounds, {plan.clock} time")


def _ratio_table(
    seconds: Mapping[str, list[float]], peaks: Mapping[str, int], num_pictures: int, shares: Mapping[str, float]
) -> Table:
    """Tabulate medians, pictures a second, memory, each candidate by every other, and the share of the conv rate."""
    letters = {name: chr(ord("A") + place) for place, name in enumerate(seconds)}
    table = Table("", "seconds", "pictures/s", "peak MiB", *(f"/ {each}" for each in letters.values()))
    if shares:
        table.add_column("of conv rate")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, own in seconds.items():
        median = statistics.median(own)
        ratios = [f"{ratio(own, other):.2f}" for other in seconds.values()]
        share = [f"{shares[name]:.0%}" if name in shares else ""] if shares else []
        peak = f"{peaks[name] / _MIB:.0f}"
        table.add_row(f"{letters[name]} {name}", f"{median:.3f}", f"{num_pictures / median:.2f}", peak, *ratios, *share)
    return table
