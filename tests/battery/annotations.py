"""Bad, odd and good annotations (D, E) and files (F): what becomes of each."""

import gzip
import json
import math

import numpy as np

from battery.case import DROP_ANN, FATAL, OK, WARN, Case
from battery.workbench import HEIGHT, RUNS, SQUARE, WIDTH, annotation, content, document, more, row_of, square
from panet.ops.rle import encode

NAN, INF = math.nan, math.inf
PIXELS = HEIGHT * WIDTH
BOX, FORM, POLYGON, RLE = "box-not-numbers", "segmentation-of-other-form", "polygon-invalid", "rle-invalid"
EMPTY = "mask-without-area"


def box(*numbers):
    return annotation(bbox=list(numbers))


def polygons(*parts):
    return annotation(segmentation=[list(part) for part in parts])


def rle(counts, size=(HEIGHT, WIDTH), **changes):
    return annotation(segmentation={"size": size, "counts": counts}, **changes)


def circle(num_points):
    angles = np.linspace(0, 2 * math.pi, num_points, endpoint=False)
    return np.stack([16 + 8 * np.cos(angles), 12 + 8 * np.sin(angles)], axis=1).ravel().tolist()


def first(bench):
    """Keep one annotation, a crowd, on the first picture."""
    bench.document["annotations"] = [square(1, iscrowd=1)]


def text_ids(bench):
    """Give the first picture a text as id, and one of its two annotations a number."""
    bench.document["images"][0]["id"] = bench.document["annotations"][1]["image_id"] = "1"


WHOLE = encode(np.ones((HEIGHT, WIDTH), dtype=bool))["counts"]

OBJECTS = [
    Case("D01", DROP_ANN, "box-without-area", box(4, 4, 0, 10)),
    Case("D02", DROP_ANN, "box-without-area", box(12, 14, -8, -10)),
    Case("D03", DROP_ANN, BOX, box(4, 4, NAN, 10)),
    Case("D04", DROP_ANN, BOX, box(4, 4, INF, 10)),
    Case("D04 minus", DROP_ANN, BOX, box(-INF, 4, 8, 10)),
    Case("D05 elsewhere", WARN, "box-not-the-masks", box(24, 16, 8, 8), "the mask's is used"),
    Case("D06 off the picture", WARN, "box-not-the-masks", box(1000, 1000, 8, 10)),
    Case("D06 huge", WARN, "box-not-the-masks", box(-1e299, -1e299, 1e299, 1e299)),
    Case("D07 1e308", DROP_ANN, BOX, box(4, 4, 1e308, 10)),
    Case("D07 1e400", DROP_ANN, BOX, box(4, 4, 10**400, 10)),
    Case("D08", WARN, "box-missing", annotation(bbox=...)),
    Case("D08 null", WARN, "box-missing", annotation(bbox=None)),
    Case("D09", WARN, "box-of-corners", box(4, 4, 12, 14), "is [x1, y1, x2, y2]"),
    Case("D10", DROP_ANN, EMPTY, annotation(bbox=[5.1, 5.1, 0.2, 0.2], segmentation=[[5.1, 5.1, 5.3, 5.1, 5.3, 5.3]])),
    Case("D11", DROP_ANN, BOX, box("4", "4", "8", "10")),
    Case("D11 true", DROP_ANN, BOX, box(True, True, True, True)),
    Case("D11 three numbers", DROP_ANN, BOX, box(4, 4, 8)),
    Case("D11 a dict", DROP_ANN, BOX, annotation(bbox={"x": 4})),
    Case("D12", DROP_ANN, "category-unknown", annotation(category_id=9)),
    Case("D13 another picture", DROP_ANN, "image-unknown", annotation(image_id=99)),
    Case("D13 no picture", DROP_ANN, "image-unknown", annotation(image_id=...)),
    Case("D13 a list", DROP_ANN, "image-unknown", annotation(image_id=[1])),
    Case("D13 a number as text", DROP_ANN, "image-unknown", annotation(image_id="1"), "write it as a number"),
    Case("D13 a number with a point", DROP_ANN, "image-unknown", annotation(image_id=1.0), "write it without a point"),
    Case("D13 a text as number", DROP_ANN, "image-unknown", text_ids, "write it as a text"),
    Case("D13 true", DROP_ANN, "image-unknown", annotation(image_id=True)),
    Case("D14", WARN, "annotation-id-repeated", annotation(id=2)),
    Case("D15", OK, "", annotation(id=0)),
    Case("D16", WARN, "annotation-without-id", annotation(id=...)),
    Case("D16 a list", WARN, "annotation-without-id", annotation(id=[1])),
    Case("D17", OK, "", annotation(iscrowd=...)),
    Case("D18", OK, "", annotation(area=...)),
    Case("D19 crowd 2", DROP_ANN, "crowd-not-a-flag", annotation(iscrowd=2)),
    Case("D19 crowd as text", DROP_ANN, "crowd-not-a-flag", annotation(iscrowd="yes")),
    Case("D19 crowd as dict", DROP_ANN, "crowd-not-a-flag", annotation(iscrowd={"a": 1})),
    Case("D19 crowd as list", DROP_ANN, "crowd-not-a-flag", annotation(iscrowd=[1])),
    Case("D19 crowd as an empty text", DROP_ANN, "crowd-not-a-flag", annotation(iscrowd="")),
    Case("D19 crowd as an empty list", DROP_ANN, "crowd-not-a-flag", annotation(iscrowd=[])),
    Case("D20", OK, "", annotation(iscrowd=1, segmentation=RUNS, bbox=[20, 2, 2, 10])),
    Case("D21", OK, "", first),
    Case("D22", OK, "", annotation(iscrowd=1)),
    Case("D23", DROP_ANN, "category-unknown", annotation(category_id=...)),
    Case("D24 a category as text", DROP_ANN, "category-unknown", annotation(category_id="1"), "write it as a number"),
    Case("D24 a category as list", DROP_ANN, "category-unknown", annotation(category_id=[1])),
    Case("D24 a category as true", DROP_ANN, "category-unknown", annotation(category_id=True)),
    Case("D25", OK, "", annotation(iscrowd=True)),
    Case("D26", OK, "", annotation(attributes=None, score=None)),
    Case("D27", DROP_ANN, "annotation-not-object", row_of("annotations", None)),
    Case("D27 a list", DROP_ANN, "annotation-not-object", row_of("annotations", [1, 2])),
    Case("D28", OK, "", lambda bench: bench.document["annotations"].__delitem__(slice(2, None))),
    Case("D29", OK, "", more("annotations", *(square(10 + i, 3) for i in range(600)))),
    Case("D30 area NaN", DROP_ANN, "area-not-a-number", annotation(area=NAN)),
    Case("D30 area below 0", DROP_ANN, "area-not-a-number", annotation(area=-1)),
    Case("D30 area as text", DROP_ANN, "area-not-a-number", annotation(area="80")),
    Case("D30 area 1e300", DROP_ANN, "area-not-a-number", annotation(area=1e300)),
    Case("D30 area above what scores count", DROP_ANN, "area-not-a-number", annotation(area=1e11), "0 to 10000000000"),
    Case("D30 area of a box", OK, "", annotation(area=99)),
]

MASKS = [
    Case("E01 a flat list", DROP_ANN, FORM, annotation(segmentation=SQUARE[0])),
    Case("E02", DROP_ANN, POLYGON, polygons([4, 4, 12, 4, 12, 14, 4]), "7 numbers"),
    Case("E03 no polygon", DROP_ANN, FORM, annotation(segmentation=[])),
    Case("E04", DROP_ANN, POLYGON, polygons([]), "0 numbers"),
    Case("E05", DROP_ANN, "segmentation-missing", annotation(segmentation=...)),
    Case("E06", DROP_ANN, "segmentation-missing", annotation(segmentation=None)),
    Case("E07", DROP_ANN, POLYGON, polygons([4, 4, NAN, 4, 12, 14]), "not finite"),
    Case("E08 Infinity", DROP_ANN, POLYGON, polygons([4, 4, INF, 4, 12, 14])),
    Case("E09", DROP_ANN, POLYGON, polygons([4, 4, 1e12, 4, 12, 14]), "far outside"),
    Case("E09 an integer", DROP_ANN, POLYGON, polygons([4, 4, 10**30, 4, 12, 14])),
    Case("E10", DROP_ANN, EMPTY, polygons([40, 40, 50, 40, 50, 50])),
    Case("E11", OK, "", annotation(segmentation=[[-8, -8, 8, -8, 8, 8, -8, 8]], bbox=[-8, -8, 16, 16])),
    Case("E12", DROP_ANN, "polygon-without-area", polygons([4, 4, 20.3, 11.7, 12.15, 7.85]), "lie on one line"),
    Case(
        "E12 two parts", DROP_ANN, "polygon-without-area", polygons([1, 2, 9, 4, 5, 3], [4, 4, 20.3, 11.7, 12.15, 7.85])
    ),
    Case("E12 one point", DROP_ANN, EMPTY, polygons([5, 5] * 4)),
    Case("E13", OK, "", annotation(segmentation=[[4, 4, 12, 14, 12, 4, 4, 14]])),
    Case("E14 two parts", OK, "", polygons([4, 4, 8, 4, 8, 14, 4, 14], [8, 4, 12, 4, 12, 14, 8, 14])),
    Case("E15", OK, "", polygons([4, 4, 4, 4, 12, 4, 12, 14, 12, 14, 4, 14, 4, 4])),
    Case("E16", WARN, "polygon-part-left-out", polygons(SQUARE[0], [1, 1, 2, 2]), "1 of 2 polygons"),
    Case("E16 first", WARN, "polygon-part-left-out", polygons([1, 1, 2, 2], SQUARE[0])),
    Case("E16 only", DROP_ANN, POLYGON, polygons([4, 4, 12, 14]), "4 numbers"),
    Case("E16 with NaN", DROP_ANN, POLYGON, polygons(SQUARE[0], [1, 1, 2, NAN])),
    Case("E17", OK, "", annotation(segmentation=[circle(20_000)], bbox=[8, 4, 16, 16])),
    Case("E18", DROP_ANN, RLE, rle([600], (20, 30)), "is not the picture's"),
    Case("E19", DROP_ANN, RLE, rle([PIXELS], (WIDTH, HEIGHT))),
    Case("E20", DROP_ANN, RLE, rle([100, 20, PIXELS]), "do not add up"),
    Case("E20 one run", DROP_ANN, RLE, rle([0, PIXELS + 1]), "a run has 0 to"),
    Case("E21", DROP_ANN, RLE, rle([100, 20]), "do not add up"),
    Case("E22 below 0", DROP_ANN, RLE, rle([100, -20, PIXELS - 80]), "a run has 0 to"),
    Case("E22 below 0, compressed", DROP_ANN, RLE, rle("O5"), "shorter than 0"),
    Case("E23", DROP_ANN, RLE, rle([100.5, 20, PIXELS - 120.5]), "only integers"),
    Case("E24", DROP_ANN, RLE, rle("\x7fgarbage é"), "illegal character"),
    Case("E24 letters", DROP_ANN, RLE, rle("0" * 50), "do not add up"),
    Case("E25", DROP_ANN, RLE, rle("4P"), "the string is cut"),
    Case("E25 a number without end", DROP_ANN, RLE, rle("P" * 20 + "0"), "too large"),
    Case("E26", DROP_ANN, RLE, rle([10**10], (100_000, 100_000))),
    Case("E27", DROP_ANN, EMPTY, rle([PIXELS])),
    Case("E28 no counts", DROP_ANN, RLE, annotation(segmentation={"size": [HEIGHT, WIDTH]}), "no counts"),
    Case("E28 a number", DROP_ANN, RLE, rle(PIXELS), "no counts"),
    Case("E28 a dict", DROP_ANN, RLE, rle({"a": 1})),
    Case("E28 null", DROP_ANN, RLE, rle(None), "no counts"),
    Case("E29", OK, "", rle(WHOLE, bbox=[0, 0, WIDTH, HEIGHT])),
    Case("E30", DROP_ANN, FORM, annotation(segmentation="4 4 12 4 12 14"), "is a str"),
    Case("E30 a number", DROP_ANN, FORM, annotation(segmentation=7)),
    Case("E30 true", DROP_ANN, FORM, annotation(segmentation=True)),
    Case("E31", DROP_ANN, POLYGON, polygons(["4", "4", "12", "4", "12", "14"]), "not a number"),
    Case("E32", DROP_ANN, RLE, rle([2**70], (2**70, 1))),
    Case("E32 of 4,000 digits", DROP_ANN, RLE, rle([1], (10**4000, 10**4000))),
    Case("E33", DROP_ANN, POLYGON, polygons([4, 4, None, 4, 12, 14]), "not a number"),
    Case("E33 true", DROP_ANN, POLYGON, polygons([4, 4, True, 4, 12, 14]), "not a number"),
    Case("E34", DROP_ANN, RLE, annotation(segmentation={"counts": [PIXELS]}), "no size"),
    Case("E34 as texts", DROP_ANN, RLE, rle([0, PIXELS], ("24", "32")), "no size"),
    Case("E34 as lists", DROP_ANN, RLE, rle([0, PIXELS], ([HEIGHT], [WIDTH]))),
    Case("E35 points as pairs", DROP_ANN, POLYGON, polygons([[4, 4], [12, 4], [12, 14]])),
    Case("E35 lists in lists", DROP_ANN, POLYGON, polygons([[[[1]]]])),
    Case("E36 a part is a dict", DROP_ANN, FORM, annotation(segmentation=[SQUARE[0], {"size": [1, 1]}])),
    Case("E37 a long outline", DROP_ANN, POLYGON, polygons([-1e6, 5, 1e6, 9] * 40_000), "too long"),
    Case("E38 a text of 1 MB", DROP_ANN, POLYGON, polygons(["9" * 10**6, *range(199)])),
    Case("E39 a sliver of a bow", OK, "", annotation(segmentation=[[4, 4, 12, 4, 12, 5.5, 4, 5.5]], bbox=[4, 4, 8, 2])),
    Case("E36 empty lists", DROP_ANN, POLYGON, polygons([[]] * 6)),
    Case("E41 more than an RLE", OK, "", annotation(segmentation={**RUNS, "score": [NAN, INF]}, bbox=[20, 2, 2, 10])),
    Case("E42 100,000 parts", OK, "", polygons(*([4, 4, 12, 4, 12, 14 - i % 9] for i in range(100_000)), SQUARE[0])),
    Case("E40 5 million runs", DROP_ANN, RLE, rle("0" * 5_000_000), "characters: at most"),
    Case("E40 as numbers", DROP_ANN, RLE, rle([0] * 4_200_000), "runs: at most"),
]


def labelme(bench):
    bench.document = {"version": "5.0", "imagePath": "a.png", "shapes": [{"label": "cell", "points": [[1, 1]]}]}


def results(bench):
    bench.content = json.dumps([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "score": 0.5}]).encode()


def twice(clean):
    return clean[:-1] + b', "images": []}'


def without_pictures(bench):
    for row in bench.document["images"]:
        row["file_name"] = "absent.png"


def long_named(bench):
    bench.json = bench.root / ("x" * 300)


def absent(bench):
    bench.json = bench.root / "absent" / "train.json"


def categories(*rows):
    return document(categories=list(rows))


def nested(depth):
    """Put lists in each other under a key that nobody reads."""
    return content(lambda clean: clean[:-1] + b', "info": ' + b"[" * depth + b"]" * depth + b"}")


CELL, NUT = {"id": 1, "name": "cell"}, {"id": 2, "name": "nut"}

FILES = [
    Case("F01", FATAL, "json-broken", content(lambda clean: clean[: len(clean) // 2]), "line 1 column"),
    Case("F02", FATAL, "json-broken", content(b""), "is empty"),
    Case("F03", FATAL, "not-coco", content(b"[]"), "the top level is a list"),
    Case("F03 a list of results", FATAL, "not-coco", results, "this is a list of results"),
    Case("F04", FATAL, "not-coco", document(images=...), "has no 'images'"),
    Case("F05", FATAL, "not-coco", document(annotations=...), "has no 'annotations'"),
    Case("F06 no categories", FATAL, "not-coco", document(categories=...), "has no 'categories'"),
    Case("F06 none listed", FATAL, "no-categories", document(categories=[])),
    Case("F07", OK, "", content(lambda clean: b"\xef\xbb\xbf" + clean)),
    Case(
        "F08", FATAL, "json-not-text", content(lambda clean: clean.decode().encode("utf-16")), "save the JSON as UTF-8"
    ),
    Case("F09", FATAL, "json-too-deep", content(b"[" * 100_000)),
    Case("F09 objects", FATAL, "json-too-deep", content(b'{"a":' * 100_000)),
    Case("F09 where nothing is read", FATAL, "json-too-deep", nested(200)),
    Case("F09 as deep as may be", OK, "", nested(199)),
    Case("F10 a number of 5,000 digits", FATAL, "json-long-number", content(b'{"images": ' + b"9" * 5000 + b"}")),
    Case("F11", FATAL, "no-images", document(images=[])),
    Case("F11 none usable", FATAL, "no-usable-picture", without_pictures),
    Case("F12 a null", FATAL, "not-coco", content(b"null")),
    Case("F13 a word", FATAL, "json-broken", content(b"images"), "line 1 column 1"),
    Case("F14", FATAL, "image-id-repeated", more("images", {"id": 1, "file_name": "b.png"}), "images[0]"),
    Case("F15", OK, "", lambda bench: zero(bench, "cell")),
    Case("F16", WARN, "category-background", lambda bench: zero(bench, "background")),
    Case("F17", FATAL, "json-not-text", content(gzip.compress), "is gzip"),
    Case("F17 a picture", FATAL, "json-not-text", content(b"\x89PNG\r\n\x1a\n"), "is a picture"),
    Case("F18", FATAL, "not-coco", document(images=None), "'images' is a NoneType"),
    Case("F18 annotations", FATAL, "not-coco", document(annotations={}), "'annotations' is a dict"),
    Case("F19 categories", FATAL, "not-coco", document(categories="cell"), "'categories' is a str"),
    Case("F20", FATAL, "json-broken", content(lambda clean: clean[:-1] + b",}"), "column"),
    Case("F21", WARN, "no-annotations", document(annotations=[])),
    Case("F22", FATAL, "not-coco", labelme, "LabelMe"),
    Case("F23", FATAL, "json-repeated-key", content(twice), "key 'images' occurs twice"),
    Case("F24", FATAL, "category-without-id", categories({"name": "cell"}, NUT), "no integer id"),
    Case("F24 a text", FATAL, "category-without-id", categories(CELL, {"id": "2", "name": "nut"})),
    Case("F24 null", FATAL, "category-without-id", categories(None)),
    Case("F25 no name", FATAL, "category-without-name", categories(CELL, {"id": 2})),
    Case("F25 an empty name", FATAL, "category-without-name", categories(CELL, {"id": 2, "name": ""})),
    Case("F26 an id twice", FATAL, "category-id-repeated", categories(CELL, {"id": 1, "name": "nut"}, NUT)),
    Case("F27 a name twice", WARN, "category-name-repeated", categories(CELL, {"id": 2, "name": "cell"})),
    Case("F28 no JSON file", FATAL, "json-missing", absent),
    Case("F28 a name too long", FATAL, "json-unreadable", long_named),
    Case("F29 no pictures' folder", FATAL, "folder-missing", lambda bench: setattr(bench, "images", bench.root / "x")),
    Case("F30 10,000 categories", OK, "", more("categories", *({"id": i, "name": f"c{i}"} for i in range(3, 10_003)))),
    Case("F31 a name with a comma", OK, "", categories({"id": 1, "name": 'a,"b"\n<c>'}, NUT)),
    Case("F33 a category id of 2**70", OK, "", lambda bench: zero(bench, "cell", 2**70)),
    Case("F33 a category id below 0", OK, "", lambda bench: zero(bench, "cell", -5)),
    Case(
        "F34 half a character in a name", FATAL, "category-name-unusable", categories({"id": 1, "name": "\ud800"}, NUT)
    ),
    Case("F36 a name of 1 MB", FATAL, "category-name-unusable", categories({**CELL, "name": "x" * 10**6}, NUT)),
    Case("F36 as long as may be", OK, "", categories({**CELL, "name": "x" * 1000}, NUT)),
    Case("F35 infinity elsewhere", OK, "", document(info=[INF, NAN])),
    Case("F32 bytes in a text", FATAL, "json-not-text", content(b'{"images": "\xff"}')),
]


def zero(bench, name, number=0):
    """Give the first category the id 0 or another, and a name."""
    bench.document["categories"][0] = {"id": number, "name": name}
    for row in bench.document["annotations"]:
        row["category_id"] = {1: number}.get(row["category_id"], row["category_id"])


CASES = OBJECTS + MASKS + FILES
