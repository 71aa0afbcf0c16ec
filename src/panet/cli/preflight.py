"""What `panet train` does before its first step: the costliest batches once, and an estimate of the whole run."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from torch import nn

from panet.cli.duration import Costs, describe_duration
from panet.cli.estimate import GIB, estimate_memory, meta_model, padded
from panet.cli.evaluation_costs import Evaluated, describe_evaluation, num_bytes, rehearse_evaluation
from panet.config import Config
from panet.data.build import at_largest, build_batch, build_extremes, steps_per_epoch
from panet.data.coco import CocoDataset
from panet.data.extremes import Extremes
from panet.data.images import printable
from panet.errors import ResourceError
from panet.model.panet import PANet
from panet.objective.build import build_objective
from panet.structures import Batch, Size
from panet.train.build import build_plan
from panet.train.distributed import Ranks
from panet.train.preflight import Rehearsal, rehearse, untouched
from panet.train.room import Room, current_memory, find_room, reset_peak

__all__ = ["Foreseen", "describe_room", "foresee", "largest_batch", "preflight"]

_MOST_GROWTH = 2.0  # of what shapes tell; more is what a process pays once
_PREFETCHED = 2  # batches that each loader process holds ready (torch's default)


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
    """Run the largest, the most crowded and an empty batch forwards and backwards, and evaluate the costliest pictures.

    Prints what the run will take. Nothing is changed: the run afterwards is that without it, bit for bit.

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
    evaluated = None
    with untouched(objective, device):
        rehearsals, needed = _rehearse_steps(console, config, objective, batches, foreseen, ranks)
        if validation is not None:  # the gradients of the last step are there, as they are in a run
            with ranks.together():
                evaluated = rehearse_evaluation(model, objective, validation, config, device)
            _print(console, f"pre-flight: {describe_evaluation(evaluated)}")
            waiting = _waiting(config, device, num_bytes(batches["largest"]) + evaluated.num_bytes)
            needed = max(needed, evaluated.peak + foreseen.lasting + waiting)
            _check_evaluation(foreseen.room, needed, evaluated, config)
    later = list(batches)[1:]  # the first has paid for what is done once, so its time is not a step's
    costs = Costs(
        sum(batches[name].images.tensor[:, 0].numel() for name in later),
        sum(rehearsals[name].forward + rehearsals[name].backward for name in later),
        loading,
        0.0 if evaluated is None else evaluated.seconds / evaluated.area,
    )
    plan = build_plan(config.train, device, steps_per_epoch(training, config.data), ranks.size)
    _print(console, f"pre-flight: {describe_duration(config, plan, training, validation, costs, ranks.size)}")
    _print(console, f"pre-flight: {_describe_peak(foreseen.room, needed)}")


def _rehearse_steps(
    console: Console,
    config: Config,
    objective: nn.Module,
    batches: Mapping[str, Batch],
    foreseen: Foreseen,
    ranks: Ranks,
) -> tuple[dict[str, Rehearsal], int]:
    """Run batches forwards and backwards; give what each took, and the bytes that training needs in all."""
    device = foreseen.device
    now = current_memory(device)
    reset_peak(device)
    rehearsals: dict[str, Rehearsal] = {}
    for name, batch in batches.items():
        if config.train.accumulate == 1:  # else gradients are there when the next batch comes
            objective.zero_grad(set_to_none=True)
        with ranks.together():
            if len(rehearsals) == 1:
                _check_growth(foreseen, batches, rehearsals, now, config)
            rehearsals[name] = rehearse(objective, batch, device, config.train.precision == "bf16", f"{name} batch")
        _print(console, f"pre-flight: {_describe(name, batch, rehearsals[name])}")
    peak = max(each.peak or 0 for each in rehearsals.values())
    needed = peak + foreseen.lasting + _waiting(config, device, num_bytes(batches["largest"]))
    _check(foreseen, needed, max(peak - now, 0), config)
    return rehearsals, needed


def _waiting(config: Config, device: torch.device, batch_bytes: int) -> int:
    """Give the bytes of the batches that wait in the processes that read; on a GPU they take none of its memory."""
    return 0 if device.type == "cuda" else config.data.workers * _PREFETCHED * batch_bytes


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


def _check_evaluation(room: Room | None, needed: int, evaluated: Evaluated, config: Config) -> None:
    """Refuse an evaluation that cannot fit; `needed` bytes in all."""
    if room is None or needed <= room.num_bytes:
        return
    height, width = evaluated.size
    raise ResourceError(
        f"evaluating needs at least {needed / GIB:.2f} GiB with {evaluated.num_detections} detections in a picture of "
        f"{height} x {width} px, but there are {room.num_bytes / GIB:.2f} GiB ({room.source}): lower train.max_dets "
        f"({config.train.max_dets} now), model.short_side or model.max_side (--no-preflight tries it all the same)"
    )


def _describe(name: str, batch: Batch, rehearsal: Rehearsal) -> str:
    height, width = batch.images.tensor.shape[-2:]
    num_objects = sum(map(len, batch.targets))
    files = list(dict.fromkeys(printable(source.file_name) for source in batch.sources))
    named = files[0] + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    seconds = rehearsal.forward + rehearsal.backward
    return f"{name}: {len(batch)} x {height} x {width} px, {num_objects} objects, {seconds:.2f} s ({named})"


def _describe_peak(room: Room | None, needed: int) -> str:
    if room is None:
        return f"peak memory about {needed / GIB:.2f} GiB; what there is cannot be told"
    return f"peak memory about {needed / GIB:.2f} GiB of {room.num_bytes / GIB:.2f} GiB ({room.source})"


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
