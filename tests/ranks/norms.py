"""Run by torchrun: the joined batch in one process, then its halves in two; prints the largest differences."""

import sys

import torch
from torch import distributed

from panet.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, ModelConfig, NeckConfig
from panet.model.build import build_model

kind, body, heads = sys.argv[1:]
config = ModelConfig(
    num_classes=2,
    norm=kind,
    norm_groups=4,
    backbone=BackboneConfig(name=body, norm="sync_batch" if kind == "sync_batch" else "frozen", frozen_stages=0),
    neck=NeckConfig(channels=16),
    box_head=BoxHeadConfig(kind=heads, conv_channels=16, fc_channels=32),
    mask_head=MaskHeadConfig(channels=16),
)
torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(0)
pictures = torch.randn(4, 3, 64, 96, generator=generator)
corners = torch.rand(12, 2, generator=generator) * 40
boxes = list(torch.cat((corners, corners + 5 + 40 * torch.rand(12, 2, generator=generator)), dim=1).split([3, 5, 1, 3]))


def run(part: slice) -> tuple[torch.Tensor, torch.nn.Module]:
    """Give what the heads make of some pictures' RoIs, and the model with gradients of a loss that sums over them."""
    model = build_model(config, seed=0, load_backbone=False).train()
    n = model.features(pictures[part])
    output = model.box_head(n, boxes[part])
    masks = model.mask_head(n, boxes[part])
    of_pictures = torch.stack([x.square().flatten(1).mean(1) for x in n.values()]).sum()
    of_boxes = output.class_logits.square().sum() + output.deltas.abs().sum()
    (of_pictures + of_boxes + masks.sigmoid().mean((1, 2, 3)).sum()).backward()
    return torch.cat((output.class_logits, masks.flatten(1)), dim=1).detach(), model


whole, model = run(slice(0, 4))
distributed.init_process_group("gloo")
rank = distributed.get_rank()
own, half = run(slice(2 * rank, 2 * rank + 2))
first = sum(map(len, boxes[: 2 * rank]))
worst = {"output": (own - whole[first : first + len(own)]).abs().max().item(), "gradient": 0.0, "statistics": 0.0}
for parameter, other in zip(half.parameters(), model.parameters(), strict=True):
    if other.grad is not None:
        distributed.all_reduce(parameter.grad)
        worst["gradient"] = max(worst["gradient"], (parameter.grad - other.grad).abs().max().item())
for buffer, other in zip(half.buffers(), model.buffers(), strict=True):
    worst["statistics"] = max(worst["statistics"], (buffer - other).abs().max().item())
if rank == 0:
    sys.stdout.write(" ".join(f"{name} {value:.1e}" for name, value in worst.items()) + "\n")
distributed.destroy_process_group()
