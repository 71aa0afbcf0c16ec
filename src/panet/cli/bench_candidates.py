"""The candidates of `panet bench`: their names, and how each is made in its process. Heavy to import."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from panet.bench.candidates import TORCHVISION, Workload, naive_form, panet_run, prepare, torchvision_run
from panet.bench.process import Found, Process
from panet.bench.stages import timed_forward
from panet.bench.training import draw_batch, panet_step, torchvision_step
from panet.cli.memory import keep_memory
from panet.config import Config
from panet.data.batching import make_image_batch
from panet.data.build import build_normalise
from panet.model.build import build_model
from panet.model.fast import compile_stages, optimise
from panet.objective.build import build_objective
from panet.structures import Size

__all__ = ["INFERENCE", "TRAINING", "Entry", "start"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_BATCH = 2  # pictures of a training step


@dataclass(frozen=True)
class Entry:
    """A candidate.

    Args:
        form: "v1" or "v2" of torchvision; else of PANet: "naive", "plain"; "fp32", "bf16": as it is used.
        keeps_memory: whether its allocator is told to keep what is freed, as `panet` tells its own.
        compiled: whether torch.compile has it.
        usual: whether it is measured without being named.
    """

    form: str
    keeps_memory: bool
    compiled: bool = False
    usual: bool = True


_OTHERS = {
    "torchvision v1": Entry("v1", keeps_memory=False),
    "torchvision v1, memory kept": Entry("v1", keeps_memory=True),
    "torchvision v2": Entry("v2", keeps_memory=False),
    "torchvision v2, memory kept": Entry("v2", keeps_memory=True),
    "naive": Entry("naive", keeps_memory=False),
    "naive, memory kept": Entry("naive", keeps_memory=True),
}
INFERENCE: Mapping[str, Entry] = {
    **_OTHERS,
    "plain": Entry("plain", keeps_memory=True, usual=False),
    "fast fp32": Entry("fp32", keeps_memory=True),
    "fast bf16": Entry("bf16", keeps_memory=True),
    "compiled fp32": Entry("fp32", keeps_memory=True, compiled=True, usual=False),
    "compiled bf16": Entry("bf16", keeps_memory=True, compiled=True, usual=False),
}
"""Name -> what finds objects in a picture."""

TRAINING: Mapping[str, Entry] = {
    **_OTHERS,
    "fp32": Entry("fp32", keeps_memory=True),
    "bf16": Entry("bf16", keeps_memory=True),
}
"""Name -> what does a step of training."""


def start(entry: Entry, config: Config, size: Size, num_proposals: int | None, threads: int, clock: str) -> Process:
    """Start the process of a candidate for pictures of a size; without a number of proposals it trains."""
    before = keep_memory if entry.keeps_memory else None
    if num_proposals is None:
        return Process(_TrainingStep, entry, config, size, before=before, threads=threads, clock=clock)
    return Process(_Inference, entry, config, size, num_proposals, before=before, threads=threads, clock=clock)


class _Inference:
    """Pixels -> detections with masks."""

    def __init__(self, entry: Entry, config: Config, size: Size, num_proposals: int) -> None:
        self._size = size
        self._workload = Workload(size, num_proposals)
        self._model: Any = None
        if entry.form in TORCHVISION:
            self.run: Callable[[], object] = torchvision_run(entry.form, self._workload)
            return
        self._normalise = build_normalise(config.model)
        model = build_model(config.model, load_backbone=False).train(False)
        prepare(model, self._workload, self._normalise)
        if entry.form == "naive":
            model = naive_form(model)
        elif entry.form in _DTYPES:
            model = optimise(model, _DTYPES[entry.form])
        if entry.compiled:
            compile_stages(model, min(size))
        self._model = model
        self.run = panet_run(model, self._workload, self._normalise, naive=entry.form == "naive")

    def stages(self, clock: Callable[[], float]) -> Mapping[str, float]:
        if self._model is None:
            return {}
        batch = make_image_batch([self._workload.pixels], [self._size], self._normalise)
        with torch.inference_mode():
            return timed_forward(self._model, batch, clock)[1]

    def found(self) -> Found | None:
        if self._model is None:
            return None
        detections: Any = self.run()
        return Found(detections.labels.tolist(), detections.scores.tolist(), detections.boxes.tolist())


class _TrainingStep:
    """Forward, backward and update with two pictures."""

    def __init__(self, entry: Entry, config: Config, size: Size) -> None:
        batch = draw_batch(_BATCH, size, config.model.num_classes)
        if entry.form in TORCHVISION:
            self.run: Callable[[], object] = torchvision_step(entry.form, batch, config.model.num_classes)
            return
        model = build_model(config.model, load_backbone=False)
        naive = entry.form == "naive"
        objective = build_objective(naive_form(model) if naive else model, config.objective, config.model.rpn)
        objective.whole_rpn, objective.fast_convs = naive, not naive
        self.run = panet_step(objective.train(), batch, _DTYPES.get(entry.form, torch.float32), naive=naive)

    def stages(self, clock: Callable[[], float]) -> Mapping[str, float]:
        return {}

    def found(self) -> Found | None:
        return None
