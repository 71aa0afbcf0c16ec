"""Samples by (seed, epoch, index), and the masks a view shows."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import masks_to_boxes

from panet.data.annotations import AnnotationTable, ObjectRecord
from panet.data.coco import read_coco
from panet.data.dataset import SampleDataset, cut_objects, sample_generator
from panet.data.synthetic import write_shapes
from panet.data.transforms import HorizontalFlip, RandomCrop, ResizeShortSide, View
from panet.errors import DataError
from panet.ops.rle import encode, to_box


def objects_of(*masks, crowd=()):
    """The annotations of one picture, from masks."""
    records = [
        ObjectRecord(i + 1, i in crowd, encode(mask), to_box(encode(mask)), int(mask.sum()), (0, 0, 1, 1), 1.0)
        for i, mask in enumerate(masks)
    ]
    return AnnotationTable([records], [masks[0].shape] if masks else [(10, 10)])[0]


def block(top, left, bottom, right, size=(10, 12)):
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, 8, 1, 48, seed=3)
    return read_coco(folder / "train.json", folder / "images")


def test_no_objects_are_shaped_empties():
    boxes, masks, kept, crowd = cut_objects(objects_of(), View(0, 0, 10, 10, (20, 30)))
    assert boxes.shape == (0, 4)
    assert masks.shape == (0, 20, 30)
    assert len(kept) == len(crowd) == 0
    assert crowd.dtype == bool


def test_the_whole_picture_at_its_own_size_gives_the_masks_themselves():
    masks = [block(0, 0, 3, 4), block(2, 5, 10, 12), np.eye(10, 12, dtype=bool)]
    boxes, cut, kept, _ = cut_objects(objects_of(*masks), View(0, 0, 10, 12, (10, 12)))
    np.testing.assert_array_equal(cut, masks)
    assert boxes.tolist() == [[0, 0, 4, 3], [5, 2, 12, 10], [0, 0, 10, 10]]
    assert kept.tolist() == [0, 1, 2]


def test_a_crop_cuts_masks_and_takes_their_boxes_anew():
    corner = block(0, 0, 6, 6)
    corner[3:, 3:] = False  # an L: in the window only its upper part is left
    boxes, cut, kept, _ = cut_objects(objects_of(corner, block(8, 8, 10, 12)), View(0, 4, 7, 5, (7, 5)))
    assert kept.tolist() == [0]
    np.testing.assert_array_equal(cut[0], corner[0:7, 4:9])
    assert boxes.tolist() == [[0, 0, 2, 3]]


def test_boxes_are_scaled_with_the_view():
    boxes, cut, *_ = cut_objects(objects_of(block(2, 3, 6, 9)), View(1, 2, 8, 8, (16, 24)))
    assert boxes.tolist() == [[3, 2, 21, 10]]
    np.testing.assert_array_equal(cut[0], np.kron(block(2, 3, 6, 9)[1:9, 2:10], np.ones((2, 3), dtype=bool)))


def test_shrinking_takes_the_pixel_under_each_centre():
    mask = np.zeros((9, 9), dtype=bool)
    mask[1::3, 1::3] = True  # the middles of 3 x 3 blocks
    _, cut, *_ = cut_objects(objects_of(mask), View(0, 0, 9, 9, (3, 3)))
    assert cut.all()


def test_what_is_less_than_a_tenth_visible_becomes_a_crowd():
    view = View(0, 10, 4, 10, (4, 10))
    wide, less = (block(0, left, 1, 11, size=(4, 20)) for left in (0, 1))  # 1 of 11 pixels is seen, and 1 of 10
    for mask, crowd, expected in ((wide, [], True), (less, [], False), (less, [0], True), (wide, [0], True)):
        _, cut, kept, is_crowd = cut_objects(objects_of(mask, crowd=crowd), view)
        assert (kept.tolist(), is_crowd.tolist()) == ([0], [expected])
        np.testing.assert_array_equal(cut[0], mask[:, 10:])


def test_a_crop_inside_a_huge_object_is_neither_that_object_nor_background():
    boxes, cut, _, is_crowd = cut_objects(objects_of(block(0, 0, 90, 100, size=(100, 100))), View(40, 40, 9, 9, (9, 9)))
    assert cut.all()
    assert (boxes.tolist(), is_crowd.tolist()) == ([[0, 0, 9, 9]], [True])


def random_objects(draw, size):
    masks = []
    for _ in range(draw.integers(0, 9)):
        top, left = draw.integers(0, size[0] - 1), draw.integers(0, size[1] - 1)
        mask = block(top, left, top + draw.integers(1, 30), left + draw.integers(1, 30), size)
        masks.append(mask & (draw.random(size) < draw.choice([0.2, 1.0])))
    return [mask for mask in masks if mask.any()]


@pytest.mark.parametrize("seed", range(40))
def test_a_random_crop_shows_what_is_left_of_each_mask_and_nothing_else(seed):
    draw, size = np.random.default_rng(seed), (40, 50)
    masks = random_objects(draw, size)
    crowds = [index for index in range(len(masks)) if draw.random() < 0.2]
    if not masks:
        return
    view = RandomCrop((int(draw.integers(1, 45)), int(draw.integers(1, 55))))(size, torch.Generator().manual_seed(seed))
    boxes, cut, kept, is_crowd = cut_objects(objects_of(*masks, crowd=crowds), view)
    parts = [mask[view.top : view.top + view.height, view.left : view.left + view.width] for mask in masks]
    assert kept.tolist() == [index for index, part in enumerate(parts) if part.any()]
    for index, box, mask, crowd in zip(kept, boxes.tolist(), cut, is_crowd, strict=True):
        np.testing.assert_array_equal(mask, parts[index])
        assert tuple(box) == to_box(encode(mask))
        assert crowd == (index in crowds or 10 * mask.sum() < masks[index].sum())


def test_a_mask_that_resizing_loses_is_dropped():
    assert cut_objects(objects_of(block(0, 0, 1, 1)), View(0, 0, 10, 12, (2, 2)))[2].tolist() == []


def test_a_box_that_meets_the_window_without_its_mask_is_dropped():
    ring = block(0, 0, 10, 12)
    ring[1:9, 1:11] = False
    assert cut_objects(objects_of(ring), View(2, 2, 5, 5, (5, 5)))[2].tolist() == []


def test_only_masks_that_the_window_may_show_are_decoded(monkeypatch):
    decoded = []
    from panet.data import dataset as module

    original = module.decode_window
    monkeypatch.setattr(module, "decode_window", lambda *args: decoded.append(args) or original(*args))
    cut_objects(objects_of(block(0, 0, 2, 2), block(8, 8, 10, 10)), View(7, 7, 3, 3, (3, 3)))
    assert len(decoded) == 1


@pytest.mark.parametrize("index", range(8))
def test_samples_have_boxes_of_their_masks(shapes, index):
    sample = SampleDataset(shapes, ResizeShortSide((72,), 200), [HorizontalFlip(0.5)], seed=0)[0, index]
    height, width = sample.image.shape[-2:]
    assert sample.masks.shape == (len(sample.labels), height, width)
    assert sample.masks.dtype == torch.bool
    assert min(height, width) == 72
    assert len(sample.labels) == len(shapes.annotations[index])
    if len(sample.labels):
        found = masks_to_boxes(sample.masks) + torch.tensor([0, 0, 1, 1])
        assert (sample.boxes - found).abs().max() <= 1


def test_a_sample_is_a_function_of_seed_epoch_and_index(shapes):
    def samples(seed, epoch):
        dataset = SampleDataset(shapes, RandomCrop((32, 32)), [HorizontalFlip(0.5)], seed)
        return [dataset[epoch, index].image for index in range(8)]

    first = samples(1, 0)
    torch.rand(3)
    assert all(map(torch.equal, samples(1, 0), first))
    assert not all(map(torch.equal, samples(1, 1), first))
    assert not all(map(torch.equal, samples(2, 0), first))


def test_generators_are_the_same_on_every_machine():
    # blake2b of "1/2/3" as a seed of torch's generator; written down with torch 2.14.
    drawn = torch.randint(1 << 30, (3,), generator=sample_generator(1, 2, 3)).tolist()
    assert drawn == [395740611, 974730915, 798216050]


def test_a_picture_that_has_another_size_than_before_is_named(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((6, 9, 3), dtype=np.uint8)).save(tmp_path / "images" / "a.png")
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 9}],
        "annotations": [],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "train.json").write_text(json.dumps(document))
    dataset = read_coco(tmp_path / "train.json", tmp_path / "images")
    Image.fromarray(np.zeros((9, 6, 3), dtype=np.uint8)).save(tmp_path / "images" / "a.png")
    with pytest.raises(DataError, match=r"a\.png: is 6 x 9 px upright, but its annotations are for 9 x 6"):
        SampleDataset(dataset, ResizeShortSide((8,), 20), [], seed=0)[0, 0]
