"""The views of a picture: sizes, mirroring, and what a data set makes of them."""

import json

import pytest
import torch
from PIL import Image

from panet.config import ModelConfig
from panet.data.batching import Normalise, make_image_batch
from panet.data.build import build_view_loader
from panet.data.coco import read_coco
from panet.data.transforms import apply_view, view_for_test
from panet.data.views import ViewDataset, ViewMaker
from panet.errors import DataError
from panet.structures import TTA

NORMALISE = Normalise((0.0,) * 3, (1.0,) * 3, bgr=False)
PLAIN = TTA(scales=(1.0,), flip=False)


def noise(height, width):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def make(tta, pixels, short_side=20, max_side=50, arithmetic="modern"):
    return ViewMaker(tta, short_side, max_side, NORMALISE, arithmetic)(pixels)


@pytest.mark.parametrize("arithmetic", ["modern", "torchvision", "legacy"])
def test_scale_1_without_a_flip_is_what_the_network_sees_otherwise(arithmetic):
    pixels = noise(30, 47)
    view = view_for_test((30, 47), 20, 50, arithmetic)
    expected = make_image_batch([apply_view(pixels, view)], [(30, 47)], NORMALISE, [view.factor], [view.late_size])
    views = make(PLAIN, pixels, arithmetic=arithmetic)
    (images,) = views.images
    assert torch.equal(images.tensor, expected.tensor)
    assert (images.sizes, images.original_sizes) == (expected.sizes, ((30, 47),))
    assert images.factors == expected.factors
    assert (images.factors is not None) == (arithmetic == "legacy")
    assert views.mirrored == (False,)


def test_scales_are_factors_on_the_shorter_side_and_the_limit_of_the_longer_one_stays():
    views = make(TTA(scales=(0.5, 1, 1.5), flip=False), noise(30, 40), short_side=24, max_side=40)
    assert [each.sizes for each in views.images] == [((12, 16),), ((24, 32),), ((30, 40),)]
    assert [tuple(each.tensor.shape[-2:]) for each in views.images] == [(32, 32), (32, 32), (32, 64)]


def test_sizes_that_the_limit_makes_equal_count_once():
    views = make(TTA(scales=(1, 1.2, 3)), noise(20, 50), short_side=20, max_side=50)
    assert [each.sizes for each in views.images] == [((20, 50),), ((20, 50),)]
    assert views.mirrored == (False, True)


def test_each_size_is_seen_mirrored_too():
    pixels = noise(20, 30)
    views = make(TTA(scales=(1, 2)), pixels)
    assert views.mirrored == (False, True, False, True)
    assert torch.equal(views.images[1].tensor[0, :, :20, :30], pixels.flip(-1).float())


@pytest.mark.parametrize("arithmetic", ["modern", "torchvision", "legacy"])
def test_a_picture_and_its_mirror_image_have_the_same_views(arithmetic):
    pixels = noise(31, 43)
    one, other = (make(TTA(scales=(0.6, 1)), each, arithmetic=arithmetic) for each in (pixels, pixels.flip(-1)))
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        assert torch.equal(one.images[i].tensor, other.images[j].tensor)
        assert one.images[i].sizes == other.images[j].sizes


@pytest.fixture
def dataset(tmp_path):
    entries = []
    for number, size in ((7, (30, 20)), (8, (40, 40))):
        Image.new("RGB", size, (number, 0, 0)).save(tmp_path / f"{number}.png")
        entries.append({"id": number, "file_name": f"{number}.png", "width": size[0], "height": size[1]})
    document = {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "fig"}]}
    (tmp_path / "val.json").write_text(json.dumps(document))
    return read_coco(tmp_path / "val.json", tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_sets_views_come_in_its_order_with_its_ids(dataset, workers):
    config = ModelConfig(num_classes=1, short_side=32, max_side=64)
    loaded = list(build_view_loader(dataset, config, TTA(scales=(1, 2)), workers))
    assert [views.image_id for views in loaded] == [7, 8]
    assert [len(views) for views in loaded] == [4, 4]
    assert [views.original_size for views in loaded] == [(20, 30), (40, 40)]
    legacy = config.model_copy(update={"arithmetic": "legacy"})
    (first, _) = build_view_loader(dataset, legacy, PLAIN, 0)
    assert first.images[0].factors == (1.6,)


def test_a_picture_of_another_size_than_stated_is_named(dataset, tmp_path):
    Image.new("RGB", (31, 20)).save(tmp_path / "7.png")
    with pytest.raises(DataError, match=r"7\.png: is 31 x 20 px upright, but its annotations are for 30 x 20"):
        next(iter(build_view_loader(dataset, ModelConfig(num_classes=1), PLAIN, 0)))
    maker = ViewMaker(PLAIN, 20, 50, NORMALISE)
    assert ViewDataset(dataset, maker)([(0, 1)]).image_id == 8
