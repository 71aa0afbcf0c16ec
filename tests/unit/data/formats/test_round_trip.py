"""Every format gives the masks that were put into it, pixel for pixel, and so do the formats that are written."""

import sys

import numpy as np
import pytest

from panet.data.formats.conversion import convert
from panet.data.formats.reading import read_part
from panet.data.formats.source import find_source

PIXELS = ["coco", "masks", "voc", "cityscapes", "mapillary"]
WRITTEN = ["coco", "yolo", "labelme"]


def read(root, kind):
    source = find_source(root)
    assert source.kind == kind
    datasets = {split: read_part(part) for split, part in (("train", source.train), ("val", source.val))}
    assert [dataset.problems for dataset in datasets.values()] == [(), ()]
    return datasets


def convert_to(kind, source_root, root, **options):
    source = find_source(source_root)
    datasets = {"train": read_part(source.train), "val": read_part(source.val)}
    return convert(datasets, kind, root, [source_root], **options)


def same_masks(found, things):
    """Whether a picture's masks are those, in any order."""
    assert len(found) == len(things)
    left = list(found)
    for thing in things:
        place = next(
            (i for i, mask in enumerate(left) if mask.shape == thing.mask.shape and (mask == thing.mask).all()), None
        )
        if place is None:
            return False
        del left[place]
    return True


@pytest.mark.parametrize("kind", PIXELS)
def test_a_format_of_pixels_gives_the_masks_that_were_put_in(kind, truth, sizes, write, masks_of, tmp_path):
    parts = read(write(kind, tmp_path, truth, sizes), kind)
    for split, dataset in parts.items():
        masks = masks_of(dataset)
        assert len(masks) == len(truth[split])
        for found, things in zip(masks, truth[split].values(), strict=True):
            assert same_masks(found, things)


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.parametrize("origin", PIXELS)
def test_what_is_converted_reads_back_the_same(origin, kind, truth, sizes, write, masks_of, tmp_path):
    root = write(origin, tmp_path / "old", truth, sizes)
    tallies = convert_to(kind, root, tmp_path / "new")
    assert [tally.differing for tally in tallies.values()] == [{}, {}]
    before, after = read(root, origin), read(tmp_path / "new", kind)
    for split in ("train", "val"):
        assert [(image.height, image.width) for image in after[split].images] == [
            (image.height, image.width) for image in before[split].images
        ]
        assert after[split].label_map.names == before[split].label_map.names
        for index in range(len(before[split])):
            assert (before[split].annotations[index].labels == after[split].annotations[index].labels).all()
        for old, new in zip(masks_of(before[split]), masks_of(after[split]), strict=True):
            assert all((first == second).all() for first, second in zip(old, new, strict=True))


def test_the_classes_of_the_objects_are_kept(truth, sizes, write, tmp_path):
    names = {
        "coco": ("cat", "dog"),
        "voc": ("cat", "dog"),
        "cityscapes": ("person", "car"),
        "mapillary": ("animal--bird", "object--vehicle--car"),
    }
    for kind, (first, second) in names.items():
        dataset = read(write(kind, tmp_path / kind, truth, sizes), kind)["train"]
        found = [dataset.label_map.name(int(label)) for label in dataset.annotations[0].labels]
        assert sorted(found) == sorted([first, second, first, second])


def test_boxes_and_areas_are_those_of_the_masks(truth, sizes, write, tmp_path):
    objects = read(write("masks", tmp_path, truth, sizes), "masks")["train"].annotations[0]
    x1, y1, x2, y2 = objects.boxes.T
    assert (objects.stored_boxes == np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)).all()
    assert objects.stored_areas.tolist() == objects.areas.tolist() == [t.mask.sum() for t in truth["train"]["a"]]


def whole_and_shown(dataset, split, masks_of, thing):
    """Give a part's objects as they are, and as a label map shows them, where a later one covers an earlier one."""
    whole, shown = {}, {}
    for index, masks in enumerate(masks_of(dataset)):
        labels = dataset.annotations[index].labels.tolist()
        free = np.ones(masks[0].shape, dtype=bool)
        visible = []
        for mask in reversed(masks):
            visible.append(mask & free)
            free &= ~mask
        name = f"{split}{index:03d}"
        whole[name] = [thing(label % 2, mask) for label, mask in zip(labels, masks, strict=True)]
        shown[name] = [thing(label % 2, mask) for label, mask in zip(labels, reversed(visible), strict=True)]
    return whole, shown


@pytest.mark.shared
def test_fruits_and_nuts_keep_their_pixels_in_every_format(shared_data, write, masks_of, thing, tmp_path, capsys):
    """Prints the table. A format of pixels holds no overlap: there the truth is what a label map shows."""
    root = shared_data / "fruits_nuts"
    whole, shown = {}, {}
    for split, dataset in read(root, "coco").items():
        whole[split], shown[split] = whole_and_shown(dataset, split, masks_of, thing)
    sizes = {name: things[0].mask.shape for things_of in whole.values() for name, things in things_of.items()}
    lines = [f"{'format':12} {'pictures':>8} {'objects':>8} {'objects whose pixels differ':>28}"]
    for kind in (*PIXELS[1:], *WRITTEN):
        if kind in WRITTEN:
            convert_to(kind, root, tmp_path / kind)
        else:
            write(kind, tmp_path / kind, shown, sizes)
        expected, num_pictures, num_objects, num_differing = whole if kind in WRITTEN else shown, 0, 0, 0
        for split, dataset in read(tmp_path / kind, kind).items():
            for found, things in zip(masks_of(dataset), expected[split].values(), strict=True):
                pixels = {mask.tobytes() for mask in found}
                num_pictures += 1
                num_objects += len(found)
                num_differing += sum(one.mask.tobytes() not in pixels for one in things)
        lines.append(f"{kind:12} {num_pictures:8} {num_objects:8} {num_differing:28}")
        assert (num_pictures, num_objects, num_differing) == (18, 165, 0)
    covered = [
        (one.mask != other.mask).any()
        for split, pictures in whole.items()
        for name, things in pictures.items()
        for one, other in zip(things, shown[split][name], strict=True)
    ]
    lines.append(f"{sum(covered)} of {len(covered)} objects are covered in part by another: a label map holds the rest")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
