"""How far the gradients of a step in bfloat16 are from those in float32: by torch's convs, and by the compiled ones.

    python benchmarks/bf16_gradients.py NUCLEI [--model bundled] [--batches 3]

The model continues on batches of its recipe, `configs/nuclei_lite.yaml`; all forms see the same proposals and draw the
same samples. Numbers are norms of differences over the norm of the float32 gradient. The last column, the gradient of
the batch before, tells how much one batch's gradient says at all.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import torch
from rich.console import Console
from torch import Tensor

from panet.cli.training import read_splits
from panet.data.build import build_batch
from panet.model.proposals import propose
from panet.objective.build import build_objective
from panet.objective.objective import Objective
from panet.settings import read_config
from panet.structures import Batch
from panet.weights.checkpoint import restore

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "nuclei_lite.yaml"
PROPOSE = "panet.objective.objective.propose"


class Gradient(NamedTuple):
    """Of the backbone's weights, and of all others."""

    backbone: Tensor
    others: Tensor


def find_gradient(objective: Objective, batch: Batch, *, bf16: bool, compiled: bool) -> Gradient:
    objective.fast_convs = compiled
    objective.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        losses = objective(batch, torch.Generator().manual_seed(0))
    torch.stack([loss.float() for loss in losses.values()]).sum().backward()  # type: ignore[no-untyped-call]  # torch has no types there
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for name, parameter in objective.named_parameters():
        if parameter.grad is not None:
            parts["backbone" not in name].append(parameter.grad.flatten())
    return Gradient(*map(torch.cat, parts))


def distance(gradient: Gradient, truth: Gradient) -> str:
    return "  ".join(f"{float((a - b).norm() / b.norm()):8.4f}" for a, b in zip(gradient, truth, strict=True))


def compare(objective: Objective, batches: Sequence[Batch]) -> None:
    """Print a line for each batch."""
    before = None
    for i, batch in enumerate(batches):
        with patch(PROPOSE, wraps=propose) as first:
            truth = find_gradient(objective, batch, bf16=False, compiled=False)
            proposals = propose(*first.call_args.args)
        with patch(PROPOSE, return_value=proposals):
            found = [
                find_gradient(objective, batch, bf16=bf16, compiled=compiled)
                for bf16, compiled in ((False, True), (True, False), (True, True))
            ]
        found += [] if before is None else [before]
        print(f"{i:5}  " + "  |  ".join(distance(each, truth) for each in found), flush=True)
        before = truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--batches", type=int, default=3)
    arguments = parser.parse_args()
    config = read_config(RECIPE, None, [f"data.root={arguments.data}"])
    dataset = read_splits(config, Console(quiet=True)).train
    model, _ = restore(arguments.model)
    objective = build_objective(model.train(), config.objective, config.model.rpn)
    size = config.data.batch_size
    keys = [[(0, i) for i in range(size * n, size * (n + 1))] for n in range(arguments.batches)]
    print("backbone and others:  compiled fp32  |  torch bf16  |  compiled bf16  |  fp32, the batch before")
    compare(objective, [build_batch(dataset, config.data, config.model, config.train.seed, each) for each in keys])


if __name__ == "__main__":
    main()
