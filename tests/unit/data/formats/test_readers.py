"""What each format says, beside masks: parts, groups, crowds, ids, where files may lie."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from panet.data.formats.cityscapes import CLASSES
from panet.data.formats.label_maps import find_objects
from panet.data.formats.reading import read_part
from panet.data.formats.source import find_source
from panet.data.formats.voc import colour_map
from panet.data.formats.yolo import label_name
from panet.ops.rle import decode

GREY = np.full((8, 10), 90, dtype=np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def block(top, bottom, left, right, size=(8, 10)):
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def read(root, split="train"):
    return read_part(getattr(find_source(root), split))


def masks(dataset, index=0):
    return [decode(rle) for rle in dataset.annotations[index].masks]


# Label maps


def test_an_empty_label_map_has_no_objects():
    assert list(find_objects(np.zeros((3, 4), dtype=np.uint8))) == []


def test_the_objects_of_a_label_map_are_its_numbers():
    labels = np.random.default_rng(0).integers(0, 9, (13, 7)).astype(np.uint16)
    found = dict(find_objects(labels))
    assert list(found) == list(range(1, 9))
    for value, positions in found.items():
        line = np.zeros(13 * 7, dtype=bool)
        for start, end in positions.reshape(-1, 2):
            line[start:end] = True
        assert ((labels == value) == line.reshape(7, 13).T).all()
    assert sum(1 for _ in find_objects(labels, background=None)) == 9


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("a.png", np.uint8), ("a.png", np.uint16), ("a.tif", np.uint16), ("a.tif", np.int32), ("a.tiff", np.uint8),
    ],
)  # fmt: skip
def test_label_maps_of_8_16_and_32_bits(tmp_path, name, pixels):
    largest = min(np.iinfo(pixels).max, 70000)
    labels = np.where(block(1, 3, 2, 5), largest, 0).astype(pixels)
    save(tmp_path / "images" / "a.jpg", GREY)
    save(tmp_path / "masks" / name, labels)
    dataset = read(tmp_path)
    assert dataset.label_map.names == ("object",)
    assert (masks(dataset)[0] == block(1, 3, 2, 5)).all()


# YOLO


def test_parts_joined_by_coincident_lines_are_one_object_of_two_parts(tmp_path):
    """The joining line, there and back from (4, 2) to (6, 5), is drawn nowhere."""
    corners = [(1, 1), (4, 1), (4, 2), (6, 5), (9, 5), (9, 7), (6, 7), (6, 5), (4, 2), (1, 2)]
    save(tmp_path / "images" / "train" / "a.png", GREY)
    (tmp_path / "labels" / "train").mkdir(parents=True)
    line = " ".join(f"{x / 10} {y / 8}" for x, y in corners)
    (tmp_path / "labels" / "train" / "a.txt").write_text(f"1 {line}\r\n\r\n")
    (tmp_path / "data.yaml").write_text("path: somewhere/else\ntrain: images/train\nnames: {0: no, 1: 'on'}\n")
    dataset = read(tmp_path)
    assert dataset.label_map.names == ("no", "on")
    assert dataset.label_map.category_ids == (0, 1)
    assert dataset.annotations[0].labels.tolist() == [2]
    assert (masks(dataset)[0] == block(1, 2, 1, 4) | block(5, 7, 6, 9)).all()


def test_six_digits_are_enough(tmp_path):
    """As other programs write shares: `%g`. The corners of a pixel's edge stay on it."""
    save(tmp_path / "images" / "a.png", np.zeros((1999, 3001), dtype=np.uint8))
    (tmp_path / "labels").mkdir()
    corners = [(7, 11), (2993, 11), (2993, 1997), (7, 1997)]
    (tmp_path / "labels" / "a.txt").write_text("0 " + " ".join(f"{x / 3001:g} {y / 1999:g}" for x, y in corners))
    (tmp_path / "data.yaml").write_text("names: [a]\ntrain: images\n")
    assert (masks(read(tmp_path))[0] == block(11, 1997, 7, 2993, (1999, 3001))).all()


def test_pictures_may_be_listed_or_lie_in_several_folders_and_need_no_labels(tmp_path):
    for name in ("images/one/a.png", "images/one/deep/b.PNG", "images/two/c.png"):
        save(tmp_path / name, GREY, format="PNG")
    (tmp_path / "train.txt").write_text("./images/two/c.png\n\nimages/one/a.png\n")
    (tmp_path / "data.yaml").write_text("names: [a]\ntrain: train.txt\nval:\n  - images/one\n  - images/two\n")
    assert [image.file_name for image in read(tmp_path).images] == ["images/two/c.png", "images/one/a.png"]
    dataset = read(tmp_path, "val")
    assert [image.file_name[7:] for image in dataset.images] == ["one/a.png", "one/deep/b.PNG", "two/c.png"]
    assert dataset.annotations.num_objects == 0


@pytest.mark.parametrize(
    ("picture", "label"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("train/images/a.b.jpg", "train/labels/a.b.txt"),
        ("images/images/a.jpg", "images/labels/a.txt"),
        ("pictures/a.jpg", "pictures/a.txt"),
    ],
)
def test_a_label_file_lies_where_the_last_images_is_labels(picture, label):
    assert label_name(picture) == label


# Pascal VOC


def test_the_colours_of_voc():
    """From VOC's development kit: aeroplane, sofa, tvmonitor, and the void's cream."""
    assert [colour_map()[number] for number in (0, 1, 18, 20, 255)] == [
        (0, 0, 0), (128, 0, 0), (0, 192, 0), (0, 64, 128), (224, 224, 192),
    ]  # fmt: skip


def voc(root, objects, classes):
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    save(root / "JPEGImages" / "a.jpg", GREY)
    save(root / "SegmentationObject" / "a.png", objects)
    save(root / "SegmentationClass" / "a.png", classes)


def test_void_belongs_to_no_object_and_void_classes_do_not_spoil_one(tmp_path):
    objects, classes = np.zeros((8, 10), dtype=np.uint8), np.zeros((8, 10), dtype=np.uint8)
    objects[1:4, 1:5], classes[1:4, 1:5] = 3, 15
    classes[1, 1] = 255
    objects[6, :] = classes[6, :] = 255
    voc(tmp_path, objects, classes)
    dataset = read(tmp_path, "val")
    assert dataset.label_map.name(int(dataset.annotations[0].labels[0])) == "person"
    assert len(dataset.label_map) == 20
    assert (masks(dataset)[0] == block(1, 4, 1, 5)).all()


def test_colours_stand_for_numbers_those_of_classes_as_labelmap_says(tmp_path):
    objects, classes = np.zeros((8, 10, 3), dtype=np.uint8), np.zeros((8, 10, 3), dtype=np.uint8)
    objects[1:4, 1:5], classes[1:4, 1:5] = (128, 0, 0), (9, 8, 7)
    objects[5:7, 1:5], classes[5:7, 1:5] = (0, 128, 0), (1, 2, 3)
    voc(tmp_path, objects, classes)
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nfig:9,8,7::\nnut:1,2,3::\n"
    )
    dataset = read(tmp_path, "val")
    assert dataset.label_map.names == ("fig", "nut")
    assert dataset.annotations[0].labels.tolist() == [1, 2]


# LabelMe


def labelme(root, shapes, name="a", folder="", **changes):
    save(root / folder / f"{name}.png", GREY)
    document = {"shapes": shapes, "imagePath": f"{name}.png", "imageData": "not looked at", **changes}
    (root / folder / f"{name}.json").write_text(json.dumps(document))


def polygon(label, *corners, **more):
    return {"label": label, "points": [list(corner) for corner in corners], "shape_type": "polygon", **more}


def test_shapes_of_one_label_and_group_are_one_object(tmp_path):
    first, second = ((1, 1), (3, 1), (3, 3), (1, 3)), ((5, 5), (9, 5), (9, 7), (5, 7))
    shapes = [
        polygon("cat", *first, group_id=1),
        polygon("dog", *first, group_id=1),
        polygon("cat", *second, group_id=1),
        polygon("cat", *first, group_id=None),
        polygon("cat", *first),
    ]
    labelme(tmp_path, shapes)
    dataset = read(tmp_path)
    assert dataset.label_map.names == ("cat", "dog")
    assert dataset.annotations[0].labels.tolist() == [1, 2, 1, 1]
    both = block(1, 3, 1, 3) | block(5, 7, 5, 9)
    assert [(mask == expected).all() for mask, expected in zip(masks(dataset), [both, block(1, 3, 1, 3)], strict=False)]
    assert (masks(dataset)[0] == both).all()


def test_a_bad_shape_takes_its_whole_group_and_nothing_else(tmp_path):
    square = ((1, 1), (3, 1), (3, 3), (1, 3))
    labelme(tmp_path, [polygon("a", *square, group_id=1), polygon("a", (1, 1), group_id=1), polygon("a", *square)])
    document, problems = find_source(tmp_path).train.read(lambda items: items)
    assert [row["id"] for row in document["annotations"]] == ["a.json shapes[2]"]
    assert [problem.place for problem in problems] == ["shapes[1]"]


def test_rectangles_circles_and_masks_have_areas(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8)).save(stream, "PNG")
    mask = base64.b64encode(stream.getvalue()).decode()
    shapes = [
        {"label": "a", "points": [[6, 7], [2, 3]], "shape_type": "rectangle"},
        {"label": "a", "points": [[4, 4], [4, 7]], "shape_type": "circle"},
        {"label": "a", "points": [[3, 5], [4, 6]], "shape_type": "mask", "mask": mask, "group_id": 4},
        polygon("a", (8, 0), (10, 0), (10, 2), (8, 2), group_id=4),
        {"label": "a", "points": [[4, 4]], "shape_type": "point"},
    ]
    labelme(tmp_path, shapes)
    rectangle, circle, united = masks(read(tmp_path))
    assert (rectangle == block(3, 7, 2, 6)).all()
    rows, columns = np.mgrid[0:8, 0:10] + 0.5
    distances = np.hypot(rows - 4, columns - 4)
    clear = np.abs(distances - 3) > 0.2  # the grid of COCO's rule is a fifth of a pixel
    assert (circle == (distances < 3))[clear].all()
    assert clear.sum() > 60
    assert (united == block(0, 2, 8, 10) | block(5, 6, 4, 5) | block(6, 7, 3, 4)).all()


def test_both_parts_have_the_labels_of_both_or_those_of_labels_txt(tmp_path):
    square = ((1, 1), (3, 1), (3, 3), (1, 3))
    labelme(tmp_path, [polygon("b", *square)], folder="train")
    labelme(tmp_path, [polygon("a", *square), polygon("__ignore__", *square)], folder="val")
    assert read(tmp_path).label_map == read(tmp_path, "val").label_map
    assert read(tmp_path).label_map.names == ("a", "b")
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\nb\na\nc\n")
    assert read(tmp_path, "val").label_map.names == ("b", "a", "c")


def test_a_picture_may_lie_beside_the_folder_of_the_files_also_by_a_path_of_windows(tmp_path):
    save(tmp_path / "pictures" / "x.png", GREY)
    (tmp_path / "train").mkdir()
    shapes = [polygon("a", (1, 1), (3, 1), (3, 3))]
    document = {"shapes": shapes, "imagePath": "..\\pictures\\x.png", "imageHeight": 8, "imageWidth": 10}
    (tmp_path / "train" / "x.json").write_text(json.dumps(document))
    assert [image.file_name for image in read(tmp_path).images] == ["pictures/x.png"]


# Cityscapes and Mapillary


def test_the_eight_classes_of_cityscapes_keep_their_ids():
    names = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    assert tuple(CLASSES.items()) == tuple(zip((24, 25, 26, 27, 28, 31, 32, 33), names, strict=True))


def test_a_group_of_cityscapes_is_a_crowd_and_what_is_not_scored_is_left_out(tmp_path):
    labels = np.full((8, 10), 11, dtype=np.uint16)  # building
    labels[0, :4], labels[2:4, :4], labels[2:4, 6:] = 26, 26000, 26001
    labels[5, :], labels[6, :], labels[7, 0] = 33011, 29000, 24  # a bicycle, a caravan, a group of persons
    save(tmp_path / "leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png", GREY)
    save(tmp_path / "gtFine/val/ulm/ulm_000001_000019_gtFine_instanceIds.png", labels)
    dataset = read(tmp_path, "val")
    objects = dataset.annotations[0]
    found = [
        (dataset.label_map.category_id(int(k)), bool(c)) for k, c in zip(objects.labels, objects.crowd, strict=True)
    ]
    assert found == [(24, True), (26, True), (26, False), (26, False), (33, False)]
    assert objects.areas.tolist() == [1, 4, 8, 8, 10]
    assert dataset.images[0].file_name == "ulm/ulm_000001_000019_leftImg8bit.png"


def test_the_first_object_of_mapillarys_first_label_has_the_number_zero(tmp_path):
    rows = [
        {"name": "bird", "instances": True},
        {"name": "sky", "instances": False},
        {"name": "car", "instances": True},
    ]
    (tmp_path / "config_v1.2.json").write_text(json.dumps({"labels": rows}))
    numbers = np.full((8, 10), 256, dtype=np.uint16)
    numbers[:2, :2], numbers[4:6, :3], numbers[4:6, 5:9] = 0, 512, 2 * 256 + 255
    save(tmp_path / "validation" / "images" / "a.jpg", GREY)
    save(tmp_path / "validation" / "v1.2" / "instances" / "a.png", numbers)
    dataset = read(tmp_path, "val")
    assert dataset.label_map.category_ids == (0, 2)
    assert dataset.annotations[0].labels.tolist() == [1, 2, 2]
    assert dataset.annotations[0].areas.tolist() == [4, 6, 8]
