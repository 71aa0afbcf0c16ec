"""COCO files: what is tolerated, what is refused and how it is said."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as oracle

from panet.data.coco import read_coco
from panet.data.layout import find_layout
from panet.data.problems import Outcome
from panet.errors import DataError
from panet.ops.rle import decode

SQUARE = [[1, 1, 4, 1, 4, 5, 1, 5]]


def image(number=1, file_name="a.png", **others):
    return {"id": number, "file_name": file_name, "height": 6, "width": 9, **others}


def annotation(number=1, **others):
    return {"id": number, "image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 4], "segmentation": SQUARE, **others}


def without(row, *keys):
    return {key: value for key, value in row.items() if key not in keys}


@pytest.fixture
def read(tmp_path):
    """Write a document and read it; pictures a.png and sub/b c.png exist, 6 x 9."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b c.png"):
        Image.fromarray(np.zeros((6, 9, 3), dtype=np.uint8)).save(folder / name)
    (tmp_path / "outside.png").touch()

    def write_and_read(images=None, annotations=None, categories=None, **others):
        document = {
            "images": [image()] if images is None else images,
            "annotations": [] if annotations is None else annotations,
            "categories": [{"id": 1, "name": "cell"}] if categories is None else categories,
        }
        (tmp_path / "train.json").write_text(json.dumps({**document, **others}))
        return read_coco(tmp_path / "train.json", folder)

    return write_and_read


def test_pictures_without_objects_are_kept(read):
    dataset = read(images=[image(), image(2, "sub/b c.png")])
    assert len(dataset) == len(dataset.annotations) == 2
    assert [len(dataset.annotations[i]) for i in range(2)] == [0, 0]
    assert dataset.document["annotations"] == []


def test_objects_lie_with_their_picture_in_the_files_order(read):
    rows = [annotation(5, image_id=7), annotation(6, image_id="x", bbox=[0, 0, 2, 2]), annotation(7, image_id=7)]
    dataset = read(images=[image("x"), image(7, "sub/b c.png")], annotations=rows)
    assert [len(dataset.annotations[i]) for i in range(2)] == [1, 2]
    assert [dataset.annotations[i].rows.tolist() for i in range(2)] == [[1], [0, 2]]
    assert dataset.images[1].path.name == "b c.png"
    assert dataset.annotations[0].stored_boxes.tolist() == [[0, 0, 2, 2]]
    with pytest.raises(IndexError):
        dataset.annotations[2]


def test_category_ids_become_labels_in_ascending_order_also_from_zero(read):
    categories = [{"id": 90, "name": "c"}, {"id": 0, "name": "a"}, {"id": -3, "name": "z"}]
    dataset = read(categories=categories, annotations=[annotation(category_id=number) for number in (0, 90, -3)])
    assert dataset.label_map.category_ids == (-3, 0, 90)
    assert dataset.label_map.names == ("z", "a", "c")
    assert dataset.annotations[0].labels.tolist() == [2, 3, 1]
    assert [row["category_id"] for row in dataset.document["annotations"]] == [0, 90, -3]


def test_the_three_forms_of_a_mask_are_one(read):
    mask = np.zeros((6, 9), dtype=np.uint8)
    mask[1:5, 1:4] = 1
    compressed = oracle.encode(np.asfortranarray(mask))
    forms = [
        SQUARE,
        {"size": [6, 9], "counts": compressed["counts"].decode()},
        {"size": [6, 9], "counts": [7, 4, 2, 4, 2, 4, 31]},
    ]
    dataset = read(annotations=[annotation(segmentation=form) for form in forms])
    objects = dataset.annotations[0]
    for rle in objects.masks:
        np.testing.assert_array_equal(decode(rle), mask)
    assert objects.boxes.tolist() == [[1, 1, 4, 5]] * 3
    assert objects.areas.tolist() == [12] * 3


def test_a_wrong_stored_box_is_kept_for_the_evaluator_only(read):
    dataset = read(annotations=[annotation(bbox=[1, 1, 4, 5], area=99.5)])
    assert dataset.annotations[0].boxes.tolist() == [[1, 1, 4, 5]]
    assert dataset.document["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [1, 1, 4, 5],
            "area": 99.5,
            "iscrowd": 0,
            "segmentation": dataset.annotations[0].masks[0],
        }
    ]


def test_missing_box_area_and_crowd_come_from_the_mask(read):
    dataset = read(annotations=[without(annotation(), "bbox", "id"), annotation(bbox=None, area=None, iscrowd=None)])
    for row in dataset.document["annotations"]:
        assert (row["bbox"], row["area"], row["iscrowd"]) == ([1, 1, 3, 4], 12, 0)


@pytest.mark.parametrize("crowd", [1, True])
def test_crowds_are_kept_as_crowds(read, crowd):
    dataset = read(annotations=[annotation(iscrowd=crowd), annotation(iscrowd=0)])
    assert dataset.annotations[0].crowd.tolist() == [True, False]
    assert [row["iscrowd"] for row in dataset.document["annotations"]] == [1, 0]


def test_annotations_are_numbered_anew_for_the_evaluator(read):
    dataset = read(annotations=[annotation(0), annotation(0), annotation(7)])
    assert [row["id"] for row in dataset.document["annotations"]] == [1, 2, 3]


@pytest.mark.parametrize("row", [without(image(), "height"), image(width=0), image(width=9.0), image(width=None)])
def test_a_missing_size_comes_from_the_picture(read, row):
    dataset = read(images=[row])
    assert (dataset.images[0].height, dataset.images[0].width) == (6, 9)


def test_large_ids_survive_exactly(read):
    dataset = read(images=[image(2**53 + 1)], annotations=[annotation(image_id=2**53 + 1)])
    assert dataset.document["images"][0]["id"] == 2**53 + 1


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (None, r"images\[0\]: is a NoneType, not an object"),
        (without(image(), "id"), r"images\[0\]: has no id"),
        (without(image(), "file_name"), "image 1: has no file_name"),
        (image(file_name=""), "image 1: has no file_name"),
        (image(file_name="sub"), "file_name sub is a folder"),
        (image(file_name="A.png"), r"A\.png is not in .*images \(did you mean 'a\.png'\?\)"),
        (image(file_name="sub\\b c.png"), "write / instead of"),
        (image(file_name="../outside.png"), "leads out of"),
        (image(file_name="/etc/passwd"), "leads out of"),
        (image(file_name="http://x/a.png"), "is an address; download"),
        (image(file_name="a\0.png"), r"a\\x00\.png holds a NUL"),
        (image(height=-6), "height is -6; it must be a whole number"),
        (image(height=6.5), "height is 6.5; it must be a whole number"),
        (image(height="6"), "height is '6'; it must be a whole number"),
        (image(height=10**6, width=10**6), "1000000 x 1000000 pixels: a picture may have at most"),
        (image(height=10**400), "it must be a whole number"),
    ],
)
def test_a_bad_image_row_is_named_with_its_reason(read, row, why):
    with pytest.raises(DataError, match=rf"train\.json: .*{why}"):
        read(images=[row])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (None, r"annotations\[0\]: is a NoneType"),
        (annotation(image_id=2), "annotation 1: image_id 2 is not among the images"),
        (annotation(image_id=[1]), r"image_id \[1\] is not among the images"),
        (annotation(image_id=True), "image_id True is not among the images"),
        (annotation(category_id=2), "category_id 2 is not among the categories"),
        (annotation(category_id="1"), "category_id '1' is not among"),
        (without(annotation(), "category_id"), "category_id None is not among"),
        (annotation(iscrowd=2), "iscrowd is 2; it must be 0 or 1"),
        (annotation(area=float("nan")), "area is nan; it must be a number"),
        (annotation(area="12"), "area is '12'"),
        (annotation(bbox=[10, 20, 0, 30]), r"box \[10, 20, 0, 30\] has no area"),
        (annotation(bbox=[10, 20, -5, -30]), "has no area"),
        (annotation(bbox=[1, 1, 3, float("nan")]), "not four finite numbers"),
        (annotation(bbox=[1, 1, 3, float("inf")]), "not four finite numbers"),
        (annotation(bbox=[1, 1, 3, 10**400]), "not four finite numbers"),
        (annotation(bbox=["1", "1", "3", "4"]), "not four finite numbers"),
        (annotation(bbox=[1, 1, 3]), "not four finite numbers"),
        (without(annotation(), "segmentation"), "has no segmentation"),
        (annotation(segmentation=None), "has no segmentation"),
        (annotation(segmentation="12"), "segmentation is a str"),
        (annotation(segmentation=[]), "must be a list of polygons"),
        (annotation(segmentation=[1, 1, 4, 1, 4, 5]), "must be a list of polygons"),
        (annotation(segmentation=[[]]), "a polygon of 0 numbers"),
        (annotation(segmentation=[[1, 1, 2, 2, 3, float("nan")]]), "not finite"),
        (annotation(segmentation=[[20, 20, 30, 20, 30, 30]]), "annotation 1: the mask has no area inside the picture"),
        (annotation(segmentation={"size": [6, 9], "counts": [54]}), "no area"),
        (annotation(segmentation={"size": [9, 6], "counts": [50, 4]}), r"RLE size \[9, 6\] is not the picture's"),
        (annotation(segmentation={"counts": [54]}), "no size"),
    ],
)
def test_a_bad_annotation_row_is_named_with_its_reason(read, row, why):
    with pytest.raises(DataError, match=rf"train\.json: .*{why}"):
        read(annotations=[row])


def test_all_problems_are_collected_and_the_first_is_told(read):
    with pytest.raises(DataError) as caught:
        read(
            images=[image(), image(2, "missing.png")],
            annotations=[annotation(3, bbox=[0, 0, 0, 0]), annotation(4), annotation(5, image_id=2, category_id=9)],
        )
    assert str(caught.value).endswith("(and 1 more problems)")
    first, second = caught.value.problems
    assert "image 2: missing.png is not in" in str(first)
    assert "annotation 3: box [0, 0, 0, 0] has no area" in str(second)
    assert (first.outcome, second.outcome) == (Outcome.DROP_IMG, Outcome.DROP_ANN)
    assert (first.image_id, second.image_id, second.annotation_id) == (2, 1, 3)
    assert "\n" not in str(caught.value)


def test_two_images_of_one_id_are_refused(read):
    with pytest.raises(DataError, match=r"images\[1\]: its id 1 is also that of images\[0\]"):
        read(images=[image(), image(1, "sub/b c.png")])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"images": {}}, "'images' is a dict"),
        ({"annotations": "x"}, "'annotations' is a str"),
        ({"images": []}, "lists no images"),
        ({"categories": []}, "lists no categories"),
        ({"categories": [{"name": "a"}]}, r"categories\[0\]: has no integer id"),
        ({"categories": [{"id": "1", "name": "a"}]}, r"categories\[0\]: has no integer id"),
        ({"categories": [None]}, r"categories\[0\]: has no integer id"),
        ({"categories": [{"id": 1}]}, "category 1 has no name"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "id 1 is already 'a'"),
    ],
)
def test_a_file_of_another_shape_is_refused(read, changes, why):
    with pytest.raises(DataError, match=why):
        read(**changes)


@pytest.mark.parametrize(
    ("text", "why"),
    [("[]", "top level is a list"), ("{}", "has no 'images'"), ('{"images": []}', "has no 'annotations'")],
)
def test_what_is_no_coco_document_is_refused(tmp_path, text, why):
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DataError, match=why):
        read_coco(tmp_path / "train.json", tmp_path)


def test_an_absent_folder_of_pictures_is_one_problem(read, tmp_path):
    read()
    with pytest.raises(DataError, match=r"its folder of pictures .*elsewhere does not exist"):
        read_coco(tmp_path / "train.json", tmp_path / "elsewhere")


def test_links_are_followed_and_dangling_ones_named(read, tmp_path):
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "images" / "a.png")
    assert len(read(images=[image(file_name="link.png")])) == 1
    (tmp_path / "images" / "dangling.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(DataError, match="a link to nothing"):
        read(images=[image(file_name="dangling.png")])


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("folder", "split", "num_images", "num_objects", "num_crowds"),
    [("coco80", "train", 45, 358, 5), ("coco80", "val", 40, 391, 6), ("nuclei", "val", 102, 5317, 0)],
)
def test_real_data_reads_whole_and_masks_are_those_of_pycocotools(
    shared_data, folder, split, num_images, num_objects, num_crowds
):
    part = getattr(find_layout(shared_data / folder), split)
    dataset = read_coco(part.annotations, part.images)
    rows = json.loads(part.annotations.read_text())["annotations"]
    assert (len(dataset), dataset.annotations.num_objects) == (num_images, num_objects)
    crowds = 0
    for index, record in enumerate(dataset.images):
        objects = dataset.annotations[index]
        crowds += int(objects.crowd.sum())
        for row, rle in zip([row for row in rows if row["image_id"] == record.id], objects.masks, strict=True):
            stored = row["segmentation"]
            if isinstance(stored, list):
                stored = oracle.merge(oracle.frPyObjects(stored, record.height, record.width))
            elif isinstance(stored["counts"], list):
                stored = oracle.frPyObjects(stored, record.height, record.width)
            assert np.array_equal(decode(rle), oracle.decode(stored)), row["id"]
    assert crowds == num_crowds
