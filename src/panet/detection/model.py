"""A PANet that is called as torchvision's detection models are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from panet.config import ModelConfig
from panet.data.batching import Normalise, make_image_batch
from panet.detection.checks import read_images, read_targets
from panet.detection.frames import as_prediction, resize_image, resize_target, size_of
from panet.model.panet import PANet
from panet.objective.objective import Objective
from panet.structures import Batch, LabelMap, Size
from panet.weights.checkpoint import save_model

__all__ = ["DetectionModel", "InputSizes"]

_LOSSES = {
    "loss_classifier": "class",
    "loss_box_reg": "box",
    "loss_mask": "mask",
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "rpn_box",
}
"""torchvision's name -> the objective's."""


@dataclass(frozen=True)
class InputSizes:
    """To what pictures are resized, px.

    Args:
        train_sides: of these, the shorter side is drawn for each picture that trains.
        train_limit: of the longer side in training.
        test_side: the shorter side in eval mode.
        test_limit: of the longer side then.
    """

    train_sides: tuple[int, ...]
    train_limit: int
    test_side: int
    test_limit: int


class DetectionModel(nn.Module):
    """A network with its losses, behind the contract of `torchvision.models.detection`.

    It takes a list of pictures, and gives losses in train mode and predictions in eval mode: two types of result from
    one `forward`, because that is the contract. `panet.detection_model` builds it.

    Args:
        objective: the losses, and in them the network.
        config: the network's settings, for the file that `save` writes.
        label_map: what labels 1..K stand for.
        sizes: to what pictures are resized.
        pixels: how 0..255 pixels become network input.
        generator: where sizes, anchors and RoIs of training are drawn from; it is no part of the state dict.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        objective: Objective,
        *,
        config: ModelConfig,
        label_map: LabelMap,
        sizes: InputSizes,
        pixels: Normalise,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.objective = objective
        self.config = config
        self.label_map = label_map
        self.sizes = sizes
        self.generator = generator
        self.bgr = pixels.bgr
        for name, values in (("mean", pixels.mean), ("std", pixels.std)):
            fractions = torch.tensor([value / 255 for value in values])
            self.register_buffer(name, fractions[:, None, None], persistent=False)  # follows the model to its device

    @property
    def model(self) -> PANet:
        """The network."""
        return self.objective.model

    def forward(
        self, images: Iterable[Tensor], targets: Sequence[Mapping[str, Any]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Give the losses of a batch in train mode, its predictions in eval mode.

        Args:
            images: B tensors (3, H, W), float RGB in 0..1, of any sizes; not normalised, not resized.
            targets: B dicts, needed and read in train mode alone: boxes (N, 4) float xyxy in image px; labels (N,)
                int64 in 1..K, 0 is the background; masks (N, H, W) uint8 or bool, unless there is no mask branch. If
                there, iscrowd (N,): a crowd is never a positive, and what lies in it no negative; and image_id.
        Returns:
            In train mode, the scalars loss_classifier, loss_box_reg, loss_objectness, loss_rpn_box_reg and, with a mask
            branch, loss_mask: their sum is what trains. In eval mode B dicts, best first: boxes (D, 4) xyxy in image
            px, labels (D,), scores (D,), with a mask branch masks (D, 1, H, W) probabilities.

        Raises:
            DataError: a picture or a target is not as above; nothing is corrected.
        """
        pictures = read_images(images, self.mean.device)
        original_sizes = [size_of(picture) for picture in pictures]
        if not self.training:
            return self._predict(pictures, original_sizes)
        masks = self.model.mask_head is not None
        objects = read_targets(targets, original_sizes, len(self.label_map), masks, self.mean.device)
        resized = [resize_image(picture, self._draw_side(), self.sizes.train_limit) for picture in pictures]
        batch = make_image_batch(resized, original_sizes, self._normalised)
        moved = map(resize_target, objects, batch.original_sizes, batch.sizes)
        losses = self.objective(Batch(batch, tuple(moved)), self.generator)
        return {name: losses[ours] for name, ours in _LOSSES.items() if ours in losses}

    def _predict(self, pictures: Sequence[Tensor], original_sizes: Sequence[Size]) -> list[dict[str, Tensor]]:
        resized = [resize_image(picture, self.sizes.test_side, self.sizes.test_limit) for picture in pictures]
        batch = make_image_batch(resized, original_sizes, self._normalised)
        return list(map(as_prediction, self.model(batch), batch.sizes, batch.original_sizes))

    def _normalised(self, picture: Tensor) -> Tensor:
        return ((picture.flip(0) if self.bgr else picture) - self.mean) / self.std

    def _draw_side(self) -> int:
        sides = self.sizes.train_sides
        if len(sides) == 1:
            return sides[0]
        device = self.generator.device
        return sides[int(torch.randint(len(sides), (), generator=self.generator, device=device))]

    def save(self, path: str | Path, half: bool = False) -> None:
        """Write a model file, for `panet predict`, `panet.load` and `panet.detection_model`.

        Args:
            path: the file, .safetensors; its folder must exist.
            half: store floats as float16.

        Raises:
            CheckpointError: a weight is not finite, or the file cannot be written.
        """
        save_model(path, self.model.state_dict(), self.config, self.label_map, half)
