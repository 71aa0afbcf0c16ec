"""PANet and torchvision's Mask R-CNN, trained alike on one data set, judged alike.

    python benchmarks/nuclei_vs_torchvision.py --data ../shared/data/nuclei

Both have the backbone, widths, anchors, samples, steps, crops, optimizer and seed of configs/nuclei_lite.yaml, and
are scored by the same evaluator. `--only` trains one of them (two processes may share a machine); finished ones are
not trained again. The table comes when both are done.
"""

import argparse
import json
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from panet.config import Config, ModelConfig
from panet.data.build import build_test_loader, build_train_loader, steps_per_epoch
from panet.data.coco import CocoDataset, read_coco
from panet.data.layout import find_layout
from panet.evaluate.runner import evaluate
from panet.model.backbone import Backbone, timm_features
from panet.model.build import build_model
from panet.model.panet import PANet
from panet.model.pretrained import load_backbone_weights
from panet.objective.build import build_objective
from panet.settings import read_config
from panet.structures import Batch, Detections, ImageBatch
from panet.train.build import build_learner, build_plan
from panet.train.loop import train
from panet.train.run import Run, StepRecord

LEVELS = ("0", "1", "2", "3")
NAMES = ("panet", "torchvision")


class PyramidBackbone(nn.Module):
    """The same backbone, with torchvision's FPN, as its detectors want it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        backbone = config.backbone
        self.body = Backbone(timm_features(backbone.name), frozen_stages=backbone.frozen_stages)
        if backbone.weights is not None:
            load_backbone_weights(self.body, backbone.name, backbone.weights)
        self.out_channels = config.neck.channels
        widths = list(self.body.channels.values())
        self.fpn = FeaturePyramidNetwork(widths, self.out_channels, extra_blocks=LastLevelMaxPool())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images)
        pyramid: dict[str, Tensor] = self.fpn(dict(zip(LEVELS, features.values(), strict=True)))
        return pyramid


class TorchvisionModel(nn.Module):
    """torchvision's MaskRCNN with our hand-over types, so that the same loop and evaluator serve both."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        model, rpn, objective = config.model, config.model.rpn, config.objective
        assert model.mask_head is not None
        channels, classes, mask_channels = model.neck.channels, model.num_classes + 1, model.mask_head.channels
        size, features = model.pooling.box_size, model.box_head.fc_channels
        self.network = MaskRCNN(
            PyramidBackbone(model),
            rpn_anchor_generator=AnchorGenerator(rpn.anchor_sizes, (rpn.anchor_ratios,) * len(rpn.anchor_sizes)),
            rpn_pre_nms_top_n_train=rpn.num_before_nms_train,
            rpn_pre_nms_top_n_test=rpn.num_before_nms_test,
            rpn_post_nms_top_n_train=rpn.num_after_nms_train,
            rpn_post_nms_top_n_test=rpn.num_after_nms_test,
            rpn_nms_thresh=rpn.nms_threshold,
            box_roi_pool=MultiScaleRoIAlign(LEVELS, size, model.pooling.samples),
            box_head=TwoMLPHead(channels * size * size, features),
            box_predictor=FastRCNNPredictor(features, classes),
            box_score_thresh=model.detection.score_threshold,
            box_nms_thresh=model.detection.nms_threshold,
            box_detections_per_img=model.detection.max_detections,
            box_batch_size_per_image=objective.roi_samples,
            mask_roi_pool=MultiScaleRoIAlign(LEVELS, model.pooling.mask_size, model.pooling.samples),
            mask_head=MaskRCNNHeads(channels, (mask_channels,) * 4, 1),
            mask_predictor=MaskRCNNPredictor(mask_channels, mask_channels, classes),
        )

    @property
    def max_detections(self) -> int:
        return int(self.network.roi_heads.detections_per_img)

    @max_detections.setter
    def max_detections(self, count: int) -> None:
        self.network.roi_heads.detections_per_img = count

    def forward(self, images: ImageBatch) -> list[Detections]:
        """Detect, in input px, as PANet does."""
        found, _ = self.stages(images, None)
        return [Detections(each["boxes"], each["scores"], each["labels"], each["masks"][:, 0]) for each in found]

    def stages(
        self, images: ImageBatch, targets: list[dict[str, Tensor]] | None
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Run the network behind its own resizing and normalising, which the loader has done already."""
        features = self.network.backbone(images.tensor)
        listed = ImageList(images.tensor, list(images.sizes))
        proposals, rpn_losses = self.network.rpn(listed, features, targets)
        found, losses = self.network.roi_heads(features, proposals, list(images.sizes), targets)
        return found, {**rpn_losses, **losses}


class TorchvisionObjective(nn.Module):
    """Batch -> torchvision's own losses; it draws from the global generator, seeded here for each step."""

    def __init__(self, model: TorchvisionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        torch.manual_seed(generator.initial_seed())
        targets = [
            {"boxes": target.boxes, "labels": target.labels, "masks": target.masks.to(torch.uint8)}
            for target in batch.targets
        ]
        return self.model.stages(batch.images, targets)[1]


def build(name: str, config: Config) -> nn.Module:
    """Build what trains: our objective, or torchvision's."""
    if name == "panet":
        return build_objective(build_model(config.model, config.train.seed), config.objective, config.model.rpn)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        return TorchvisionObjective(TorchvisionModel(config))


def run_one(name: str, config: Config, train_set: CocoDataset, val_set: CocoDataset, folder: Path) -> None:
    """Train one model, or go on with it, then judge it on the whole val split."""
    folder.mkdir(parents=True, exist_ok=True)
    objective = build(name, config)
    device = torch.device("cpu")
    plan = build_plan(config.train, device, steps_per_epoch(train_set, config.data))
    assert isinstance(objective.model, nn.Module)
    learner = build_learner(objective.model, config.train, config.data.batch_size, plan.num_steps)
    seconds: list[float] = [time.perf_counter()]

    def report(record: StepRecord) -> None:
        seconds.append(time.perf_counter())
        if record.step % 20 == 0:
            rate = (seconds[-1] - seconds[0]) / (len(seconds) - 1)
            losses = "  ".join(f"{key} {value:.3f}" for key, value in record.losses.items())
            print(f"{name} {record.step}/{plan.num_steps}  {losses}  {rate:.2f} s/step", flush=True)

    run = Run(
        folder,
        config.model,
        train_set.label_map,
        steps_per_epoch(train_set, config.data),
        notes={"recipe": "configs/nuclei_lite.yaml"},
        on_step=report,
        on_note=partial(print, flush=True),
    )
    run.start(learner)
    batches = build_train_loader(
        train_set, config.data, config.model, config.train.seed, run.standing.step, plan.num_steps
    )
    train(objective, batches, learner, plan, run)
    training_seconds = seconds[-1] - seconds[0]
    loader = build_test_loader(val_set, config.model, 0)
    # Both models have what `evaluate` uses of a PANet: forward and max_detections.
    judged = cast("PANet", learner.judged)
    scored = evaluate(judged, loader, val_set, config.train.max_dets)
    parameters = sum(parameter.numel() for parameter in objective.model.parameters())
    report_path = folder / "scores.json"
    content = {"metrics": scored.metrics, "steps": plan.num_steps, "training_seconds": training_seconds}
    report_path.write_text(json.dumps({**content, "parameters": parameters}, indent=1))


def print_table(folders: Iterable[Path]) -> None:
    """Print both models' figures side by side."""
    columns = ("mask/AP", "mask/AP50", "mask/AP75", "mask/APs", "mask/APm", "mask/AR", "box/AP", "box/AP50")
    print(f"{'model':<14}{'M params':>10}{'steps':>7}{'minutes':>9}" + "".join(f"{each:>11}" for each in columns))
    for folder in folders:
        scores = json.loads((folder / "scores.json").read_text())
        head = f"{folder.name:<14}{scores['parameters'] / 1e6:>10.2f}{scores['steps']:>7}"
        figures = "".join(f"{scores['metrics'][each]:>11.4f}" for each in columns)
        print(f"{head}{scores['training_seconds'] / 60:>9.1f}{figures}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/nuclei"))
    parser.add_argument("--config", type=Path, default=Path("configs/nuclei_lite.yaml"))
    parser.add_argument("--output", type=Path, default=Path("runs/nuclei_vs_torchvision"))
    parser.add_argument("--only", choices=NAMES)
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = read_config(arguments.config, None, [f"train.steps={arguments.steps}"] if arguments.steps else [])
    layout = find_layout(arguments.data)
    assert layout.train is not None
    assert layout.val is not None
    train_set = read_coco(layout.train.annotations, layout.train.images)
    val_set = read_coco(layout.val.annotations, layout.val.images)
    for name in [arguments.only] if arguments.only else NAMES:
        if not (arguments.output / name / "scores.json").exists():
            run_one(name, config, train_set, val_set, arguments.output / name)
    folders = [arguments.output / name for name in NAMES]
    if all((folder / "scores.json").exists() for folder in folders):
        print_table(folders)


if __name__ == "__main__":
    main()
