"""RoIs -> mask logits: a fully convolutional path and a fully connected one (PANet, Sec. 3.3)."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn, relu_
from torch.nn.functional import linear, pad, relu

from panet.model.box_head import PoolingFactory
from panet.model.layers import ConvBlock, NormFactory, gaussian_fill, msra_fill
from panet.ops.lean import lean_linear
from panet.structures import Pyramid

__all__ = ["FullyConnectedPath", "MaskHead"]

_STEP = 8  # of the number of RoIs that are computed


class FullyConnectedPath(nn.Module):
    """From conv3: two convs, one fc, a class-agnostic map added to every class (PANet, Sec. 3.3, Fig. 4).

    The second conv halves the channels. The released code has a ReLU after the fc, so this path can only raise
    a logit.

    Args:
        channels: of conv3's output.
        size: side S of its grid; the map's is 2 S.
        norm: the norm, or None.
    """

    def __init__(self, channels: int, size: int, norm: NormFactory) -> None:
        super().__init__()
        self.conv4 = ConvBlock(channels, channels, norm=norm)
        self.conv5 = ConvBlock(channels, channels // 2, norm=norm)
        self.fc = nn.Linear(channels // 2 * size * size, (2 * size) ** 2)
        self.side = 2 * size
        msra_fill(self.conv4)
        msra_fill(self.conv5)
        gaussian_fill(self.fc, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Map (D, C, S, S) to (D, 1, 2 S, 2 S), at least 0."""
        x = self.conv5(self.conv4(x)).flatten(1)
        x = lean_linear(x, self.fc.weight, self.fc.bias) if torch.is_grad_enabled() else self.fc(x)
        return relu(x).reshape(-1, 1, self.side, self.side)


class Deconv(nn.ConvTranspose2d):
    """The deconv that doubles a grid's sides: kernel 2, stride 2, so that no two input pixels share an output pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 2, stride=2)

    def quarters(self, pixels: Tensor) -> Tensor:
        """Give the 2 x 2 output pixels of each input pixel, after a ReLU: (..., C) -> (..., 4 * C), row by row."""
        weight = self.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (4 * C, C)
        bias = None if self.bias is None else self.bias.repeat(4)
        return relu_(linear(pixels, weight, bias))


class MaskHead(nn.Module):
    """Four convs, a deconv and a 1x1 conv; beside them the fully connected path (PANet, Sec. 3.3).

    Args:
        pooling: pools RoIs and applies conv1, per level under adaptive pooling.
        inputs: channels of the pyramid.
        channels: of every conv.
        num_classes: K.
        size: side S of the pooled grid.
        norm: the norm, or None.
        fc_path: whether the fully connected path is there.
    """

    def __init__(
        self,
        pooling: PoolingFactory,
        *,
        inputs: int,
        channels: int,
        num_classes: int,
        size: int,
        norm: NormFactory,
        fc_path: bool = True,
    ) -> None:
        super().__init__()
        self.pooling = pooling(lambda: ConvBlock(inputs, channels, norm=norm))  # conv1
        self.conv2 = ConvBlock(channels, channels, norm=norm)
        self.conv3 = ConvBlock(channels, channels, norm=norm)
        self.conv4 = ConvBlock(channels, channels, norm=norm)
        self.deconv = Deconv(channels)
        self.mask_logits = nn.Conv2d(channels, num_classes + 1, 1)
        msra_fill(self)
        self.fc_path = FullyConnectedPath(channels, size, norm) if fc_path else None

    def forward(self, n: Pyramid, boxes: Sequence[Tensor]) -> Tensor:
        """Give (R, K + 1, 2 S, 2 S) logits for B lists of (R_i, 4) boxes in input px; channel 0 is never read."""
        x = self.conv3(self.conv2(self.pooling(n, boxes)))
        logits = cast("Tensor", self.mask_logits(relu(self.deconv(self.conv4(x)))))
        return logits if self.fc_path is None else logits + self.fc_path(x)

    def of_labels(self, n: Pyramid, boxes: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Give each RoI the logits of one class alone, (R, 2 S, 2 S): forward(n, boxes)[i, labels[i]].

        A stride-2 deconv of side 2 is a matrix product at each pixel, and its output is read by one class instead of
        all of them: it is never laid out as a map. Less than half the time of `forward` after conv4.

        The number of RoIs is filled up to a multiple of 8: for every number that it meets, torch keeps 2 MB of code (on
        a CPU), and it differs from picture to picture.

        Args:
            n, boxes: as for `forward`.
            labels: (R,) int64 in 0..K.
        """
        count = len(labels)
        boxes, labels = _filled(boxes, -count % _STEP), pad(labels, (0, -count % _STEP))
        x = self.conv3(self.conv2(self.pooling(n, boxes)))
        pixels = self.conv4(x).permute(0, 2, 3, 1)  # (R, S, S, C)
        rows = self.mask_logits.weight.flatten(1)[labels]  # (R, C)
        num_rois, height, width, _ = pixels.shape
        quarters = self.deconv.quarters(pixels).view(num_rois, height * width * 4, rows.shape[1])
        logits = torch.bmm(quarters, rows[:, :, None]).view(num_rois, height, width, 2, 2)
        logits = logits.transpose(2, 3).reshape(num_rois, 2 * height, 2 * width)
        if self.mask_logits.bias is not None:
            logits = logits + self.mask_logits.bias[labels, None, None]
        return (logits if self.fc_path is None else logits + self.fc_path(x).squeeze(1))[:count]


def _filled(boxes: Sequence[Tensor], missing: int) -> list[Tensor]:
    """Add so many boxes of a pixel to the last of some lists."""
    *others, last = boxes
    return [*others, torch.cat((last, last.new_tensor([[0, 0, 1, 1]]).expand(missing, 4)))]
