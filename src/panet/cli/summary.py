"""What a training run tells before its first step."""

from torch import nn

from panet.config import Config
from panet.data.coco import CocoDataset
from panet.data.images import printable
from panet.train.build import base_rate
from panet.train.loop import Plan

__all__ = ["describe_data", "describe_model", "describe_plan", "warn_of_random_backbone"]


def describe_model(model: nn.Module, config: Config) -> str:
    """Give the backbone, the number of parameters and the number of classes."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    total = sum(size for size, _ in sizes) / 1e6
    trained = sum(size for size, trains in sizes if trains) / 1e6
    classes = f"{config.model.num_classes} class" + ("es" if config.model.num_classes > 1 else "")
    return f"model: {config.model.backbone.name}, {total:.3f} M parameters, {trained:.3f} M of them train, {classes}"


def describe_data(split: str, dataset: CocoDataset | None) -> str:
    """Give the numbers of pictures, objects, crowds and pictures without any object."""
    if dataset is None:
        return f"{split}: none; no scores, and the last weights count as the best"
    crowds = [dataset.annotations[i].crowd for i in range(len(dataset))]
    num_crowds = sum(int(crowd.sum()) for crowd in crowds)
    num_objects = sum(map(len, crowds)) - num_crowds
    num_empty = sum(not len(crowd) for crowd in crowds)
    counts = f"{len(dataset):,} pictures, {num_objects:,} objects, {num_crowds:,} crowds, {num_empty:,} pictures empty"
    return f"{split}: {counts} ({printable(dataset.path)})"


def describe_plan(plan: Plan, config: Config, batches_per_epoch: int, num_ranks: int = 1) -> str:
    """Give the numbers of steps and epochs, the pictures a step, the rate after warm-up, the device and the seed."""
    epochs = plan.num_steps * plan.accumulate * num_ranks / batches_per_epoch
    pictures = f"{config.data.batch_size} x {plan.accumulate}" if plan.accumulate > 1 else f"{config.data.batch_size}"
    processes = f" in each of {num_ranks} processes" if num_ranks > 1 else ""
    rate = base_rate(config.train, config.data.batch_size, num_ranks)
    return (
        f"plan: {plan.num_steps:,} steps ({epochs:.4g} epochs), {pictures} pictures a step{processes}, "
        f"{config.train.optimizer} with learning rate {rate:.4g}, {plan.device}, seed {plan.seed}"
    )


def warn_of_random_backbone(config: Config) -> str | None:
    """Say so where random weights are frozen: nothing good can come of it."""
    frozen = config.model.backbone.frozen_noise
    if not frozen:
        return None
    return (
        f"warning: the backbone starts from random weights, but its {frozen} are frozen; add "
        "--set model.backbone.weights=timm (or a file), or "
        "--set model.backbone.norm=batch --set model.backbone.frozen_stages=0"
    )
