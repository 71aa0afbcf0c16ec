"""What `panet ablate` does once its settings are known: run after run, seed by seed, then a report. Heavy to import."""

import shutil
import statistics
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from panet import __version__
from panet.ablation.comparison import RunScores, sample_scores
from panet.ablation.plot import draw_report
from panet.ablation.report import make_report, to_document, to_markdown
from panet.ablation.rows import ROWS, Plan, choose_rows, row_config
from panet.cli.estimate import meta_model
from panet.cli.training import fit_classes, read_splits, run_training
from panet.config import Config
from panet.data.build import build_test_loader
from panet.data.coco import CocoDataset
from panet.data.documents import read_json
from panet.data.images import printable
from panet.errors import ConfigError, DataError, DivergedError
from panet.evaluate.coco import KINDS
from panet.evaluate.results import read_results, rounded, write_json
from panet.evaluate.runner import evaluate
from panet.model.fast import in_precision
from panet.predict.predictor import pick_device
from panet.settings import to_yaml
from panet.train.facts import check_same
from panet.train.folder import create_folder
from panet.weights.checkpoint import restore

__all__ = ["Job", "order_jobs", "run_ablation"]

_BASE = "ablation_base.yaml"  # makes a folder that of an ablation
_REPORTS = ("ablation.json", "ablation.md", "ablation.png")
_RESULTS, _DONE = "val_results.json", "ablation_run.json"


@dataclass(frozen=True)
class Job:
    """A run to make: a row with a seed.

    Args:
        name: of the row.
        seed: of weights, order, augmentation and sampling.
        config: its settings.
        folder: its run folder.
    """

    name: str
    seed: int
    config: Config
    folder: Path

    @property
    def is_done(self) -> bool:
        return (self.folder / _DONE).is_file()

    @property
    def can_go_on(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return any(self.folder.glob("checkpoint/step-*.safetensors"))

    @property
    def seconds(self) -> float | None:
        """How long a finished run took; None if it was interrupted in between."""
        taken = read_json(self.folder / _DONE)["seconds"]
        return None if taken is None else float(taken)


def order_jobs(base: Config, plan: Plan, num_seeds: int, root: Path) -> list[Job]:
    """List the runs seed by seed, so that what is finished early has all rows; ConfigError if a model cannot be."""
    jobs = [
        Job(name, seed, row_config(base, row, seed), root / f"{name}-seed{seed}")
        for seed in range(base.train.seed, base.train.seed + num_seeds)
        for name, row in plan.rows.items()
    ]
    for job in jobs[: len(plan.rows)]:
        meta_model(job.config.model)
    return jobs


def run_ablation(
    base: Config, rows: str | None, num_seeds: int, num_draws: int, root: Path, *, resume: bool, overwrite: bool
) -> None:
    """Make the runs that are missing, and a report after each seed.

    Args:
        base: settings with all parts; `data.root` is set.
        rows: as `ablation.rows.choose_rows` takes them.
        num_seeds: runs of a row; the first has the base's seed.
        num_draws: times that the val pictures are drawn again.
        root: where the runs and the report go.
        resume: keep the finished runs that are there.
        overwrite: remove an earlier ablation.

    Raises:
        PANetError: in the data or the settings, or a training diverged; nothing is made before they are checked.
    """
    console = Console(highlight=False)
    splits = read_splits(base, console)
    if splits.val is None:
        raise DataError(f"{base.data.root}: has no val part: rows are compared by its pictures; add val.json")
    base = fit_classes(base, splits.train.label_map)
    plan = choose_rows(base, rows)
    jobs = order_jobs(base, plan, num_seeds, root)
    if resume:
        for job in jobs:
            if job.is_done or job.can_go_on:
                check_same(job.folder, job.config)
    _prepare(root, base, resume=resume, overwrite=overwrite)
    for line in (*plan.notes, f"{len(plan.rows)} rows x {num_seeds} seeds = {len(jobs)} runs in {printable(root)}"):
        _print(console, line)
    _Ablation(console, base, plan, jobs, splits.val, num_draws, root).run()


def _prepare(root: Path, base: Config, *, resume: bool, overwrite: bool) -> None:
    """Make the folder of an ablation."""
    name, exists = printable(root), root.exists() and (not root.is_dir() or any(root.iterdir()))
    if exists and not (root / _BASE).is_file():
        raise ConfigError(f"{name}: is not the folder of an ablation; choose another --output")
    if exists and not (resume or overwrite):
        raise ConfigError(f"{name}: exists; add --resume or --overwrite, or choose another --output")
    if resume and not exists:
        raise ConfigError(f"{name}: holds no ablation to resume; leave out --resume, or give its --output")
    if exists and overwrite:
        _remove_ablation(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / _BASE).write_text(to_yaml(base), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}; choose another --output") from error


def _remove_ablation(root: Path) -> None:
    """Remove the runs and reports; what else a user keeps there stays."""
    for name in _REPORTS:
        (root / name).unlink(missing_ok=True)
    for row in ROWS:
        for folder in root.glob(f"{row}-seed*"):
            if (folder / "config.yaml").is_file() and not folder.is_symlink():
                shutil.rmtree(folder)


class _Ablation:
    """The runs of an ablation, and what is known of them so far."""

    def __init__(
        self,
        console: Console,
        base: Config,
        plan: Plan,
        jobs: list[Job],
        dataset: CocoDataset,
        num_draws: int,
        root: Path,
    ) -> None:
        self._console = console
        self._base = base
        self._plan = plan
        self._jobs = jobs
        self._dataset = dataset
        self._num_draws = num_draws
        self._root = root
        self._runs: dict[str, dict[int, RunScores]] = {name: {} for name in plan.rows}

    def run(self) -> None:
        for number, job in enumerate(self._jobs, 1):
            head = f"[{number}/{len(self._jobs)}] {self._plan.rows[job.name].label}, seed {job.seed}"
            if job.is_done:
                _print(self._console, f"{head}: finished before")
            else:
                _print(self._console, head)
                self._make(job)
                _print(self._console, *_tell_time(self._jobs, job))
            self._runs[job.name][job.seed] = self._sample(job)
            if number % len(self._plan.rows) == 0:  # all rows of a seed
                self._report()

    def _make(self, job: Job) -> None:
        """Train and score a run; its last file says that it is done."""
        start, goes_on = time.perf_counter(), job.can_go_on
        if job.folder.exists() and not goes_on:
            shutil.rmtree(job.folder)  # it ended before its first checkpoint
        try:
            if goes_on:
                run_training(job.config, lambda: job.folder, resume=True, judged=False)
            else:
                run_training(job.config, lambda: create_folder(self._root, job.folder.name), judged=False)
        except DivergedError as error:
            row = f"{self._plan.rows[job.name].label}, seed {job.seed}"
            raise DivergedError(
                f"{row}: {error}; lower train.learning_rate for all rows, or leave {job.name} out of --rows"
            ) from error
        except (KeyboardInterrupt, SystemExit):
            _print(self._console, "go on with the whole ablation: the same command and --resume")
            raise
        write_json(job.folder / _RESULTS, rounded(self._predict(job)))
        seconds = None if goes_on else time.perf_counter() - start
        write_json(job.folder / _DONE, {"row": job.name, "seed": job.seed, "seconds": seconds})

    def _predict(self, job: Job) -> list[dict[str, Any]]:
        """Find objects in the val pictures by the weights of the last step: the best ones would flatter every row."""
        model, model_file = restore(job.folder / "weights" / "last.safetensors")
        model = in_precision(model.to(pick_device(job.config.train.device)), "fp32")
        loader = build_test_loader(self._dataset, model_file.config, job.config.data.workers)
        with Progress(console=self._console, transient=True, disable=not self._console.is_terminal) as bar:
            task = bar.add_task("evaluating", total=len(self._dataset))
            max_dets = job.config.train.max_dets
            done = evaluate(model, loader, self._dataset, max_dets, lambda count: bar.advance(task, count))
        shown = [f"{name} {done.metrics[name]:.3f}" for name in ("mask/AP", "box/AP") if name in done.metrics]
        _print(self._console, f"last weights: {'  '.join(shown)}")
        return done.results

    def _sample(self, job: Job) -> RunScores:
        """Score a run from its file of results, by the draws that all runs have."""
        kinds = ("bbox",) if self._base.model.mask_head is None else tuple(KINDS)
        return sample_scores(
            self._dataset.document,
            read_results(job.folder / _RESULTS),
            kinds,
            self._base.train.max_dets,
            self._num_draws,
            np.random.default_rng(self._base.train.seed),
        )

    def _report(self) -> None:
        """Write what is known as JSON, table and picture; print the table's sentences."""
        seconds = {
            name: {job.seed: job.seconds for job in self._jobs if job.name == name and job.seed in self._runs[name]}
            for name in self._plan.rows
        }
        facts = {
            "panet": __version__,
            "base": _BASE,
            "seeds": sorted({job.seed for job in self._jobs}),
            "max_dets": self._base.train.max_dets,
            "draws": self._num_draws,
            "draws_seed": self._base.train.seed,
        }
        report = make_report(self._plan.rows, self._runs, seconds, facts, len(self._dataset), self._plan.notes)
        text = to_markdown(report)
        as_json, as_text, as_picture = (self._root / name for name in _REPORTS)
        write_json(as_json, to_document(report))
        as_text.write_text(text, encoding="utf-8")
        draw_report(report).save(as_picture)
        _print(self._console, text.rstrip(), f"written: {printable(as_text)}, .json, .png")


def _tell_time(jobs: list[Job], last: Job) -> list[str]:
    """Say how long a run took, and what is left: each row's own time where it is known, else the mean."""
    known = [(job.name, job.seconds) for job in jobs if job.is_done]
    times = [(name, seconds) for name, seconds in known if seconds is not None]
    pending = [job for job in jobs if not job.is_done]
    took = f"took {_clock(last.seconds)}" if last.seconds is not None else "finished what was interrupted"
    if not pending or not times:
        return [took]
    mean = statistics.mean(seconds for _, seconds in times)
    own = {name: statistics.mean(seconds for other, seconds in times if other == name) for name, _ in times}
    left = sum(own.get(job.name, mean) for job in pending)
    return [f"{took}; about {_clock(left)} left for {len(pending)} runs"]


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
