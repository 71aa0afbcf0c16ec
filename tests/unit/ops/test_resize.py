import pytest
import torch
from torch.nn.functional import interpolate

from panet.ops.resize import resize_bilinear


@pytest.mark.parametrize(
    ("size", "factor"), [((1, 1), 2.0), ((7, 9), 1.0), ((7, 9), 2.0), ((10, 14), 0.5), ((33, 40), 3.0)]
)
def test_a_factor_that_fits_the_size_gives_the_common_bilinear_resize(size, factor):
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    target = tuple(int(side * factor) for side in size)
    expected = interpolate(image[None], target, mode="bilinear", align_corners=False)[0]
    assert torch.allclose(resize_bilinear(image, target, factor), expected, atol=1e-6)


def test_pixels_keep_their_place_when_the_size_is_rounded():
    ramp = torch.arange(10.0)[None, None].expand(1, 10, 10)
    wide, narrow = (resize_bilinear(ramp, (13, width), 1.28) for width in (13, 12))
    assert torch.equal(wide[:, :, :12], narrow)


def test_the_edge_is_continued():
    image = torch.tensor([[[1.0, 3.0]]])
    assert resize_bilinear(image, (2, 4), 2.0)[0].tolist() == [[1.0, 1.5, 2.5, 3.0]] * 2


def test_the_picture_is_not_written_to():
    image = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    before = image.clone()
    resize_bilinear(image, (8, 8), 2.0)
    assert torch.equal(image, before)
