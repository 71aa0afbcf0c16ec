"""What `panet train` does once its settings are known: data, model, loop, table. Heavy to import."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from panet import __version__
from panet.cli.findings import accept
from panet.cli.judging import judge_on, tell_drop
from panet.cli.preflight import foresee, preflight
from panet.cli.ranks import console_of
from panet.cli.showing import shown
from panet.cli.sources import track_on
from panet.cli.summary import describe_data, describe_model, describe_plan, warn_of_random_backbone
from panet.config import Config
from panet.data.build import build_train_loader, steps_per_epoch
from panet.data.coco import CocoDataset
from panet.data.fingerprint import fingerprint
from panet.data.formats.source import find_source
from panet.data.images import printable
from panet.data.report import REPORT_NAME, Reading, read_parts, write_report
from panet.errors import ConfigError, DataError
from panet.evaluate.table import metric_table
from panet.model.build import build_model
from panet.model.panet import PANet
from panet.objective.build import build_objective
from panet.predict.predictor import pick_device
from panet.settings import flat_settings
from panet.structures import LabelMap
from panet.train.build import build_learner, build_plan
from panet.train.distributed import ALONE, Ranks
from panet.train.facts import check_classes, check_same, tell_changes, write_facts
from panet.train.folder import check_begun, check_outside, is_run
from panet.train.initial import load_initial
from panet.train.interrupts import Interrupts
from panet.train.lock import RunLock
from panet.train.logs import check_services
from panet.train.loop import train
from panet.train.progress import TrainingDisplay
from panet.train.run import Run
from panet.weights.checkpoint import load_model

__all__ = ["Splits", "fit_classes", "read_splits", "run_training"]


@dataclass(frozen=True)
class Splits:
    """The data set's parts, of the same classes."""

    train: CocoDataset
    val: CocoDataset | None
    reading: Reading

    def fingerprints(self) -> dict[str, dict[str, int | str]]:
        """Tell them from other ones, by "train" and "val"."""
        parts = {"train": self.train, "val": self.val}
        return {name: fingerprint(part) for name, part in parts.items() if part is not None}


def run_training(
    config: Config,
    make_folder: Callable[[], Path],
    *,
    runs: Path | None = None,
    resume: bool = False,
    init: str | None = None,
    reset_head: bool = False,
    judged: bool = True,
    rehearsed: bool = False,
    services: Sequence[str] = (),
    ranks: Ranks = ALONE,
) -> None:
    """Train as the settings say; on an interrupt say how to go on.

    Args:
        config: `data.root` is set.
        make_folder: gives the run's folder; not called before the data has been read.
        runs: the folder of all runs, for the report on data that cannot be used: there is no run yet.
        resume: the folder holds a run, to go on with.
        init: a model file, or a bundled model's name, to start from.
        reset_head: with other output layers than the file's.
        judged: score the val pictures on the way; else the last weights count as the best.
        rehearsed: run the costliest batches before the first step, and refuse what cannot fit.
        services: that it is logged to, beside those that the run is logged to already.
        ranks: the processes that train together.

    Raises:
        PANetError: in the data, the settings or a file; or the training diverged.
    """
    console = console_of(ranks)
    with ranks.together():
        check_services(services)
        device = ranks.place(pick_device(config.train.device))
        start = None if init is None else load_model(init)
        if runs is not None:
            check_outside(runs, Path(config.data.root))
        splits = read_splits(config, console, None if runs is None or not ranks.is_first else runs / REPORT_NAME)
        config = fit_classes(config, splits.train.label_map)
        foreseen = foresee(config, splits.train, device, ranks) if rehearsed else None
    folder = Path(ranks.share(lambda: str(make_folder())))
    with contextlib.ExitStack() as stack:
        with ranks.together():
            lock = _open_run(stack, folder, config, splits.train.label_map, resume, ranks)
            model = build_model(config.model, config.train.seed, load_backbone=start is None and not resume)
            lines = [] if start is None else load_initial(model, config.model, start, str(init), reset_head)
            lines += tell_changes(folder, splits.fingerprints()) if resume and ranks.is_first else []
            model = model.to(device)
            if foreseen is not None:
                preflight(console, config, splits.train, splits.val if judged else None, model, foreseen, ranks)
            if ranks.is_first:
                if not resume:
                    write_facts(folder, config, splits.train.label_map, ranks.size, splits.fingerprints())
                write_report(folder / REPORT_NAME, splits.reading, config.data.on_bad_data)
        _print(console, *lines, *_describe(model, config, splits, start is None and not resume))
        with _told_how_to_go_on(console, folder, ranks):
            _fit(console, config, splits, model, device, lock, judged, services, ranks)
        _print(console, f"written: {printable(folder / 'weights' / 'best.safetensors')}")


@contextlib.contextmanager
def _told_how_to_go_on(console: Console, folder: Path, ranks: Ranks) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        command = "panet" if ranks.size == 1 else "torchrun ... -m panet"
        _print(console, f"interrupted; go on with: {command} train {printable(folder)} --resume")
        raise


def _describe(model: PANet, config: Config, splits: Splits, starts_anew: bool) -> list[str]:
    warning = warn_of_random_backbone(config) if starts_anew else None
    parts = [describe_data("train", splits.train), describe_data("val", splits.val)]
    return [describe_model(model, config), *parts, *([warning] if warning else [])]


def _open_run(
    stack: contextlib.ExitStack, folder: Path, config: Config, label_map: LabelMap, resume: bool, ranks: Ranks
) -> RunLock:
    """Lock the folder, on the first rank, and see that a run in it can be gone on with."""
    lock = RunLock(folder)
    if ranks.is_first:
        stack.enter_context(_removed_if_unused(folder))
        stack.enter_context(lock)
        if resume:
            check_same(folder, config, ranks.size)
            check_classes(folder, label_map)
            check_begun(folder)
    return lock


def read_splits(config: Config, console: Console, refused: Path | None = None) -> Splits:
    """Read the data set; print its format, and name what is left out.

    Args:
        config: `data.root` is set.
        console: shows how far it is.
        refused: where the report goes if the data cannot be used.
    Raises:
        DataError: there is no train part, nothing to learn in it, or the val part has other classes.
        BadDataError: pictures or annotations cannot be used, and `data.on_bad_data` does not allow to leave them out.
    """
    data = config.data
    kind = None if data.format == "auto" else data.format
    source = find_source(data.root, kind, data.train, data.val, data.train_images, data.val_images)
    if source.train is None:
        raise DataError(f"{data.root}: has no train part; set data.train to its annotations")
    _print(console, str(source))
    parts = [source.train] if source.val is None else [source.train, source.val]
    reading = read_parts(parts, track=track_on(console))
    training, *others = accept(reading, data.on_bad_data, refused, told=not console.quiet)
    if training.annotations.num_objects == 0:
        raise DataError(f"{source.train.place}: no picture has an object: there is nothing to learn")
    validation = others[0] if others else None
    if validation is not None and validation.label_map != training.label_map:
        raise DataError(
            f"{validation.path}: its categories ({_list(validation.label_map)}) are not those of "
            f"{training.path} ({_list(training.label_map)}); list the same in both"
        )
    return Splits(training, validation, reading)


def _list(label_map: LabelMap) -> str:
    pairs = [f"{i} {name}" for i, name in zip(label_map.category_ids, label_map.names, strict=True)]
    return ", ".join(pairs[:5]) + (f" and {len(pairs) - 5} more" if len(pairs) > 5 else "")


def fit_classes(config: Config, label_map: LabelMap) -> Config:
    """Set the number of classes to the data set's; ConfigError if another one was asked for."""
    wanted = config.model.num_classes
    if "num_classes" in config.model.model_fields_set and wanted != len(label_map):
        raise ConfigError(
            f"model.num_classes: is {wanted}, but the data set has {len(label_map)} ({_list(label_map)}); "
            "leave it out, or set it to that"
        )
    model = config.model.model_copy(update={"num_classes": len(label_map)})
    return config.model_copy(update={"model": model})


@contextlib.contextmanager
def _removed_if_unused(folder: Path) -> Iterator[None]:
    """Take the new folder away again if the run cannot start."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: it is a run
            folder.rmdir()
        raise


def _fit(
    console: Console,
    config: Config,
    splits: Splits,
    model: PANet,
    device: torch.device,
    lock: RunLock,
    judged: bool,
    services: Sequence[str],
    ranks: Ranks,
) -> None:
    objective = build_objective(model, config.objective, config.model.rpn)
    batches_per_epoch = steps_per_epoch(splits.train, config.data)
    plan = build_plan(config.train, device, batches_per_epoch, ranks.size)
    learner = build_learner(model, config.train, config.data.batch_size, plan.num_steps, ranks.size)
    _print(console, describe_plan(plan, config, batches_per_epoch, ranks.size), f"run: {printable(lock.folder)}")
    display = TrainingDisplay(console, plan.num_steps)
    run = Run(
        lock.folder,
        config.model,
        splits.train.label_map,
        steps_per_epoch=batches_per_epoch / (plan.accumulate * ranks.size),
        notes={"panet": __version__},
        on_step=lambda record: display.show_step(record.step, record.losses, record.learning_rate),
        on_note=display.note,
        claim=partial(_claim, lock, config, splits, ranks.size),
        save_seconds=60 * config.train.save_minutes,
        ranks=ranks,
        services=services,
        settings=flat_settings(config),
    )
    run.start(learner)
    if run.standing.step:
        _print(console, f"going on after step {run.standing.step}")
    first, last = (step * plan.accumulate * ranks.size for step in (run.standing.step, plan.num_steps))
    loader = build_train_loader(
        splits.train,
        config.data,
        config.model,
        config.train.seed,
        first,
        last,
        partial(_tell_drop, display, itertools.count(1)),
        (ranks.rank, ranks.size),
    )
    interrupts = Interrupts(shared=ranks.size > 1)
    judge = None
    if splits.val is not None and judged:
        judge = judge_on(splits.val, config, device, display, ranks, interrupts)
        if run.takes_pictures:
            judge = shown(judge, splits.val, config.model, run.show)
    with contextlib.closing(run), display:
        train(ranks.wrap(objective), loader, learner, plan, run, judge, ranks, interrupts)
    if judge is not None and ranks.is_first:
        _print(console, f"best: step {run.standing.best_step}")
        if metrics := run.best_metrics():
            console.print(metric_table(metrics, config.train.max_dets))


def _claim(lock: RunLock, config: Config, splits: Splits, num_ranks: int) -> None:
    """Take the lock again if its file was removed, and write again what makes the folder a run's if that was."""
    if not lock.holds():
        lock.take()
    if not is_run(lock.folder):
        write_facts(lock.folder, config, splits.train.label_map, num_ranks, splits.fingerprints())
        write_report(lock.folder / REPORT_NAME, splits.reading, config.data.on_bad_data)


def _tell_drop(display: TrainingDisplay, numbers: Iterator[int], why: DataError) -> None:
    tell_drop(display, f"left out of its batch (number {next(numbers)} of this session): {why}")


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
