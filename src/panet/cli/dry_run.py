"""`panet train --dry-run`: what a recipe would do, without doing it. Heavy to import; nothing is written."""

from pathlib import Path

from rich.console import Console

from panet.cli.estimate import describe_memory, estimate_memory, largest_input, meta_model
from panet.cli.preflight import describe_room, largest_batch
from panet.cli.summary import describe_data, describe_model, describe_plan, warn_of_random_backbone
from panet.cli.training import fit_classes, read_splits
from panet.config import Config
from panet.data.build import build_extremes, steps_per_epoch
from panet.data.images import printable
from panet.predict.predictor import pick_device
from panet.train.build import base_rate, build_plan
from panet.train.room import find_room

__all__ = ["describe_schedule", "dry_run"]


def dry_run(config: Config, *, data_must_exist: bool) -> None:
    """Print the model, its memory, the learning rate and schedule, and check the data.

    Args:
        config: `data.root` is set.
        data_must_exist: a data set that is not there is an error, not a line that says so.

    Raises:
        PANetError: in the settings, or in the data that is there.
    """
    console = Console(highlight=False)
    lines = []
    num_images, size = config.data.batch_size, largest_input(config.data)
    device = pick_device(config.train.device)
    if data_must_exist or Path(config.data.root).exists():
        splits = read_splits(config, console)
        config = fit_classes(config, splits.train.label_map)
        lines += [describe_data("train", splits.train), describe_data("val", splits.val)]
        batches_per_epoch = steps_per_epoch(splits.train, config.data)
        plan = build_plan(config.train, device, batches_per_epoch)
        lines += [describe_plan(plan, config, batches_per_epoch), describe_schedule(config, plan.num_steps)]
        num_images, size = largest_batch(build_extremes(splits.train, config.data))
    else:
        lines += [f"data: {printable(config.data.root)} is not there: not checked", describe_schedule(config, None)]
    model = meta_model(config.model).train()
    parts = estimate_memory(model, config, num_images, size)
    memory = [*describe_memory(parts, config, num_images, size), describe_room(find_room(device), parts)]
    warning = warn_of_random_backbone(config)
    lines = [describe_model(model, config), *memory, *lines, *([warning] if warning else [])]
    for line in [*lines, "dry run: nothing was trained or written"]:
        console.print(line, markup=False, soft_wrap=True)


def describe_schedule(config: Config, num_steps: int | None) -> str:
    """Give the learning rate, how the batch scales it, and where it falls; `num_steps` None: not known."""
    train, batch = config.train, config.data.batch_size
    pictures, rate = batch * train.accumulate, base_rate(train, batch)
    if train.scale_learning_rate:
        scaling = f"{train.learning_rate:g} for 16 pictures x {pictures} pictures a step / 16 = {rate:g}"
    else:
        scaling = f"{rate:g} for any batch ({pictures} pictures a step)"
    if num_steps is not None or train.steps is not None:
        total = num_steps or train.steps or 0
        length = f"{total:,} steps"
        falls = ", ".join(f"{share * total:,.0f}" for share in train.milestones)
    else:
        length = f"{train.epochs:g} epochs (steps: epochs x pictures / {pictures}, so they scale with the batch)"
        falls = ", ".join(f"{share * train.epochs:.4g}" for share in train.milestones)
    shape = f"a tenth after {falls}" if train.schedule == "step" else "half a cosine to 0"
    warmup = f"warm-up of {train.warmup_steps} steps from {train.warmup_factor:.3g} of it"
    return f"learning rate: {scaling}; {warmup}; {length}, {shape}"
