"""What `panet train` does before its first step: the costliest batches once, and an estimate of the whole run."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import torch
from rich.console import Console

from panet.cli.estimate import GIB, estimate_memory, meta_model, padded
from panet.config import Config
from panet.data.build import at_largest, build_batch, build_extremes, mean_areas, steps_per_epoch
from panet.data.coco import CocoDataset
from panet.data.extremes import Extremes
from panet.data.images import printable
from panet.errors import ResourceError
from panet.model.panet import PANet
from panet.objective.build import build_objective
from panet.structures import Batch, Size
from panet.train.build import build_plan
from panet.train.distributed import Ranks
from panet.train.loop import Plan
from panet.train.preflight import Rehearsal, rehearse, untouched
from panet.train.room import Room, current_memory, find_room, reset_peak

__all__ = ["Costs", "Foreseen", "describe_room", "estimate_seconds", "foresee", "largest_batch", "preflight"]

_MOST_GROWTH = 2.0  # of what shapes tell; more is what a process pays once
_PREFETCHED = 2  # batches that each loader process holds ready (torch's default)


@dataclass(frozen=True)
class Costs:
    """What the rehearsed batches took together.

    Args:
        area: px of all their padded pictures.
        forward, backward: seconds.
        loading: seconds a picture.
    """

    area: float
    forward: float
    backward: float
    loading: float


@dataclass(frozen=True)
class Foreseen:
    """What shapes alone tell of a run.

    Args:
        extremes: pictures of the costliest batches.
        device: that it trains on.
        room: that there is for it.
        model: without values.
        parts: bytes it takes, of the largest batch.
    """

    extremes: Extremes
    device: torch.device
    room: Room | None
    model: PANet
    parts: Mapping[str, int]

    @property
    def activations(self) -> int:
        """Bytes that grow with the batch."""
        return self.parts["activations"]

    @property
    def lasting(self) -> int:
        """Bytes that do not, and that come after the first step: of the optimizer and the average."""
        return self.parts["optimizer"] + self.parts.get("average", 0)


def foresee(config: Config, training: CocoDataset, device: torch.device, ranks: Ranks) -> Foreseen:
    """Refuse a run that cannot fit into memory by its shapes alone, before anything is built.

    Raises:
        ResourceError: it cannot; names the setting to change.
    """
    extremes, model = build_extremes(training, config.data), meta_model(config.model).train()
    parts = estimate_memory(model, config, *largest_batch(extremes))
    foreseen = Foreseen(extremes, device, _find_room(device, ranks), model, parts)
    _check(foreseen, current_memory(device) + sum(parts.values()), foreseen.activations, config)
    return foreseen


def preflight(
    console: Console,
    config: Config,
    training: CocoDataset,
    validation: CocoDataset | None,
    model: PANet,
    foreseen: Foreseen,
    ranks: Ranks,
) -> None:
    """Run the largest, the most crowded and an empty batch forwards and backwards; print what the run will take.

    Nothing is changed: the run afterwards is that without it, bit for bit.

    Args:
        console: shows it.
        config: of the run.
        training, validation: the data set's parts; without validation, nothing is evaluated.
        model: on the device that it trains on.
        foreseen: of the run.
        ranks: the processes that train together; each of them runs the batches.

    Raises:
        ResourceError: the run cannot fit into memory; names the setting to change.
        DivergedError: a loss is not finite before the first step.
    """
    objective, device = build_objective(model, config.objective, config.model.rpn), foreseen.device
    start = time.perf_counter()
    batches = _batches(training, config, foreseen.extremes)
    loading = (time.perf_counter() - start) / sum(map(len, batches.values()))
    now = current_memory(device)
    reset_peak(device)
    rehearsals: dict[str, Rehearsal] = {}
    with untouched(objective, device):
        for name, batch in batches.items():
            with ranks.together():
                if len(rehearsals) == 1:
                    _check_growth(foreseen, batches, rehearsals, now, config)
                rehearsals[name] = rehearse(objective, batch, device, config.train.precision == "bf16", f"{name} batch")
            _print(console, f"pre-flight: {_describe(name, batch, rehearsals[name])}")
            if config.train.accumulate == 1:  # else gradients are there when the next batch comes
                objective.zero_grad(set_to_none=True)
    peak = max(each.peak or 0 for each in rehearsals.values())
    waiting = 0 if device.type == "cuda" else config.data.workers * _PREFETCHED * _num_bytes(batches["largest"])
    needed = peak + foreseen.lasting + waiting
    _check(foreseen, needed, max(peak - now, 0), config)
    later = list(batches)[1:]  # the first has paid for what is done once, so its time is not a step's
    costs = Costs(
        sum(batches[name].images.tensor[:, 0].numel() for name in later),
        sum(rehearsals[name].forward for name in later),
        sum(rehearsals[name].backward for name in later),
        loading,
    )
    plan = build_plan(config.train, device, steps_per_epoch(training, config.data), ranks.size)
    _print(console, f"pre-flight: {_describe_run(config, plan, training, validation, costs, ranks.size)}")
    _print(console, f"pre-flight: {_describe_peak(foreseen.room, needed)}")


def largest_batch(extremes: Extremes) -> tuple[int, Size]:
    """Give the number of pictures of the largest batch, and its (H, W) px."""
    height, width = extremes.size
    return len(extremes.largest), (padded(height), padded(width))


def describe_room(room: Room | None, parts: Mapping[str, int]) -> str:
    """Tell how the sum of `estimate_memory` compares with the room there is."""
    if room is None:
        return "  room: not known on this device"
    verdict = "too little: training would be refused" if sum(parts.values()) > room.num_bytes else "enough for that"
    return f"  room: {room.num_bytes / GIB:.1f} GiB ({room.source}), {verdict}"


def estimate_seconds(config: Config, plan: Plan, areas: tuple[float, float], num_val: int, costs: Costs) -> list[float]:
    """Estimate the seconds of a step and of an evaluation.

    Args:
        config: of the run.
        plan: of the run.
        areas: mean px of a picture in training and at test.
        num_val: pictures that each evaluation sees twice: for its scores and for its losses.
        costs: seconds are taken to grow with the px.
    """
    pictures = config.data.batch_size * plan.accumulate
    running = pictures * areas[0] * (costs.forward + costs.backward) / costs.area
    loading = pictures * costs.loading
    step = max(running, loading / config.data.workers) if config.data.workers else running + loading
    return [step, 2 * num_val * areas[1] * costs.forward / costs.area]


def _find_room(device: torch.device, ranks: Ranks) -> Room | None:
    """Give the room of this process: on a CPU, those of a machine share what there is."""
    room = find_room(device)
    num_here = int(os.environ.get("LOCAL_WORLD_SIZE", ranks.size)) if ranks.size > 1 else 1
    if room is None or device.type == "cuda" or num_here == 1:
        return room
    return Room(room.num_bytes // num_here, f"{room.source}, for {num_here} processes")


def _batches(training: CocoDataset, config: Config, extremes: Extremes) -> dict[str, Batch]:
    """Make the batches as the recipe shows them, every picture at its largest; the smallest first."""

    def make(indices: Sequence[int]) -> Batch:
        keys = [(0, index) for index in indices]
        skip = config.data.on_bad_data == "skip"
        return build_batch(training, at_largest(config.data), config.model, config.train.seed, keys, skip=skip)

    crowded = make(extremes.crowded)
    empty = make(extremes.empty) if extremes.empty else _without_objects(make(extremes.crowded[:1]))
    return {"empty": empty, "most crowded": crowded, "largest": make(extremes.largest)}


def _without_objects(batch: Batch) -> Batch:
    emptied = [
        replace(each, boxes=each.boxes[:0], labels=each.labels[:0], masks=each.masks[:0], crowd=each.crowd[:0])
        for each in batch.targets
    ]
    return replace(batch, targets=tuple(emptied))


def _check_growth(
    foreseen: Foreseen, batches: Mapping[str, Batch], rehearsals: Mapping[str, Rehearsal], now: int, config: Config
) -> None:
    """Refuse to run larger batches if the first took so much more than its shapes tell that they cannot fit."""
    (name, first), *_ = rehearsals.items()
    if first.peak is None:
        return
    height, width = batches[name].images.tensor.shape[-2:]
    told = estimate_memory(foreseen.model, config, len(batches[name]), (height, width))["activations"]
    growth = min(max((first.peak - now) / told, 1.0), _MOST_GROWTH)
    activations = round(growth * foreseen.activations)
    _check(foreseen, now + foreseen.parts["gradients"] + foreseen.lasting + activations, activations, config)


def _check(foreseen: Foreseen, needed: int, activations: int, config: Config) -> None:
    """Refuse what cannot fit.

    Args:
        foreseen: tells the room there is.
        needed: bytes in all.
        activations: of them, those that grow with the batch.
        config: of the run.
    """
    room = foreseen.room
    if room is None or needed <= room.num_bytes:
        return
    num_images, (height, width) = largest_batch(foreseen.extremes)
    left = room.num_bytes - (needed - activations)
    fitting = int(left * num_images / activations) if activations else 0
    if fitting >= 1:
        advice = f"data.batch_size={fitting} would fit, train.accumulate keeps the pictures of a step"
    elif config.data.crop is not None:
        advice = "one picture is too much: lower data.crop"
    else:
        advice = f"one picture is too much: lower data.short_sides (up to {max(config.data.short_sides)} now), "
        advice += "data.max_side, or set data.crop"
    raise ResourceError(
        f"this run needs at least {needed / GIB:.2f} GiB with a batch of {num_images} pictures of {height} x {width} "
        f"px, but has {room.num_bytes / GIB:.2f} GiB ({room.source}): {advice} (--no-preflight tries it all the same)"
    )


def _describe(name: str, batch: Batch, rehearsal: Rehearsal) -> str:
    height, width = batch.images.tensor.shape[-2:]
    num_objects = sum(map(len, batch.targets))
    files = list(dict.fromkeys(printable(source.file_name) for source in batch.sources))
    named = files[0] + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    seconds = rehearsal.forward + rehearsal.backward
    return f"{name}: {len(batch)} x {height} x {width} px, {num_objects} objects, {seconds:.2f} s ({named})"


def _describe_run(
    config: Config,
    plan: Plan,
    training: CocoDataset,
    validation: CocoDataset | None,
    costs: Costs,
    num_ranks: int,
) -> str:
    areas = mean_areas(training, config.data, config.model)
    num_val = 0 if validation is None else -(-len(validation) // num_ranks)
    step, evaluation = estimate_seconds(config, plan, areas, num_val, costs)
    num_checks = -(-plan.num_steps // plan.steps_per_check)
    total = timedelta(seconds=round(plan.num_steps * step + num_checks * evaluation))
    evaluations = f" and {num_checks} evaluations of about {evaluation:.3g} s" if num_val else ""
    return f"about {step:.2g} s a step: {plan.num_steps:,} steps{evaluations} take about {total}"


def _describe_peak(room: Room | None, needed: int) -> str:
    if room is None:
        return f"peak memory about {needed / GIB:.2f} GiB; what there is cannot be told"
    return f"peak memory about {needed / GIB:.2f} GiB of {room.num_bytes / GIB:.2f} GiB ({room.source})"


def _num_bytes(batch: Batch) -> int:
    masks = sum(target.masks.numel() for target in batch.targets)
    return batch.images.tensor.numel() * batch.images.tensor.element_size() + masks


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
