"""What is found when a file is read: each rule's outcome, why it matters, and what helps."""

from panet.data.problems import Outcome
from panet.doctor.rule import Rule

__all__ = ["RULES_OF_READING"]

WARN, DROP_ANN, DROP_IMG, FATAL = Outcome.WARN, Outcome.DROP_ANN, Outcome.DROP_IMG, Outcome.FATAL
_NO_PICTURE, _NO_ANNOTATION = "leaves the picture out", "leaves the annotation out"
_RENUMBER, _OWN_BOX = "numbers all annotations 1, 2, 3 ...", "stores the mask's box"

RULES_OF_READING: dict[str, Rule] = {
    "json-missing": Rule(FATAL, "the file does not exist", "there is nothing to read", "correct its name"),
    "json-unreadable": Rule(FATAL, "the file cannot be read", "there is nothing to read", "see the reason given"),
    "json-not-text": Rule(FATAL, "the file is no UTF-8 text", "JSON is UTF-8", "save it as UTF-8"),
    "json-broken": Rule(FATAL, "the file is broken JSON", "nothing of it can be trusted", "write it again"),
    "json-too-deep": Rule(FATAL, "the JSON is nested too deeply", "annotations never are", "give another file"),
    "json-repeated-key": Rule(FATAL, "a key occurs twice", "one of its two values would be lost", "keep one"),
    "json-long-number": Rule(FATAL, "a number is too long", "no tool can read it", "correct the number"),
    "not-coco": Rule(
        FATAL,
        "the file is no COCO instance annotations",
        "nothing of it can be read",
        "convert it, or give another file",
    ),
    "no-images": Rule(FATAL, "the file lists no pictures", "there is nothing to train on", "list the pictures"),
    "no-usable-picture": Rule(
        FATAL,
        "none of the pictures can be used",
        "there is nothing to train on",
        "look at what is wrong with the first of them",
    ),
    "folder-missing": Rule(
        FATAL, "the folder of pictures does not exist", "no picture can be found", "give the folder with --images"
    ),
    "no-categories": Rule(FATAL, "the file lists no categories", "objects have no class", "list the categories"),
    "category-without-id": Rule(
        FATAL, "a category has no integer id", "no annotation can name it", "number the categories"
    ),
    "category-without-name": Rule(FATAL, "a category has no name", "results could not be told apart", "name it"),
    "category-name-unusable": Rule(
        FATAL, "a category's name is no text, or far too long", "no model file can hold it", "write the name again"
    ),
    "category-id-repeated": Rule(
        FATAL, "two categories share an id", "objects of two classes cannot be told apart", "give each its own id"
    ),
    "image-id-repeated": Rule(
        FATAL,
        "two pictures share an id",
        "an annotation would belong to either: other tools put it on the wrong one",
        "give each its own id",
    ),
    "no-annotations": Rule(
        WARN,
        "the file lists no annotations",
        "there is nothing to learn or to find",
        "annotate, or give the right file",
    ),
    "category-name-repeated": Rule(
        WARN,
        "two categories have the same name",
        "objects of one kind are split over two classes, which compete",
        "merge them",
    ),
    "category-background": Rule(
        WARN,
        "a category is called background",
        "background is what no object covers: as a class it is learnt like any other",
        "remove it, if its objects are none",
    ),
    "image-not-object": Rule(
        DROP_IMG, "a row of images is no object", "it names no picture", "remove the row", "leaves it out"
    ),
    "image-without-id": Rule(
        DROP_IMG, "a picture has no id", "no annotation can name it", "number the pictures", _NO_PICTURE
    ),
    "image-without-name": Rule(
        DROP_IMG, "a picture has no file name", "it cannot be found", "name its file, or remove the row", _NO_PICTURE
    ),
    "image-too-large": Rule(
        DROP_IMG,
        "a picture is stated larger than any may be",
        "masks of that size would fill the memory",
        "tile the picture, or correct width and height",
        _NO_PICTURE,
    ),
    "size-not-whole": Rule(
        DROP_IMG,
        "width or height is no whole number of pixels",
        "masks have no shape",
        "correct it from the picture's file",
        _NO_PICTURE,
    ),
    "size-not-the-pictures": Rule(
        DROP_IMG,
        "the picture's file has another size than stated",
        "the annotations belong to another picture, or to another crop of it",
        "find the picture that was annotated, or correct width and height",
        _NO_PICTURE,
    ),
    "size-missing": Rule(
        WARN,
        "width and height are missing",
        "other tools stop at it",
        "write them into the file",
        "takes them from the picture",
    ),
    "size-before-exif": Rule(
        WARN,
        "the file turns the picture by EXIF, but its annotations are for the pixels as stored",
        "programs that turn pictures upright see every mask on its side",
        "save the picture without the EXIF orientation",
    ),
    "name-is-address": Rule(
        DROP_IMG,
        "a file name is an address",
        "nothing is ever fetched",
        "download the picture into the folder",
        _NO_PICTURE,
    ),
    "name-with-nul": Rule(
        DROP_IMG, "a file name holds a NUL character", "no file can have it", "correct the name", _NO_PICTURE
    ),
    "name-too-long": Rule(DROP_IMG, "a file name is too long", "no file can have it", "correct the name", _NO_PICTURE),
    "name-leads-out": Rule(
        DROP_IMG,
        "a file name leads out of the folder of pictures",
        "a data set must not read other files",
        "give it relative to the folder",
        _NO_PICTURE,
    ),
    "name-is-folder": Rule(
        DROP_IMG, "a file name is a folder's", "there is no picture to read", "correct the name", _NO_PICTURE
    ),
    "picture-missing": Rule(
        DROP_IMG,
        "a picture's file is missing",
        "training would stop at it",
        "copy the file, or correct the name",
        _NO_PICTURE,
    ),
    "picture-unreadable": Rule(
        DROP_IMG,
        "a picture's file cannot be looked up",
        "training would stop at it",
        "correct the name or the rights",
        _NO_PICTURE,
    ),
    "picture-damaged": Rule(
        DROP_IMG,
        "a picture's file is damaged or of another format",
        "training would stop at it in mid-epoch",
        "copy or download it again, or save it as PNG or JPEG",
        _NO_PICTURE,
    ),
    "picture-listed-twice": Rule(
        WARN,
        "one file is listed as two pictures",
        "its objects count twice, or are split over the two",
        "merge the two rows",
    ),
    "annotation-not-object": Rule(
        DROP_ANN, "a row of annotations is no object", "it says nothing", "remove the row", "leaves it out"
    ),
    "image-unknown": Rule(
        DROP_ANN,
        "an annotation is on a picture that is not listed",
        "it belongs nowhere",
        "correct image_id, or list the picture",
        _NO_ANNOTATION,
    ),
    "category-unknown": Rule(
        DROP_ANN,
        "an annotation has a class that is not listed",
        "it would be learnt as another class, or crash",
        "correct category_id, or list the category",
        _NO_ANNOTATION,
    ),
    "crowd-not-a-flag": Rule(
        DROP_ANN,
        "iscrowd is neither 0 nor 1",
        "it decides whether the object is a positive",
        "write 0 or 1",
        _NO_ANNOTATION,
    ),
    "box-missing": Rule(WARN, "an annotation has no box", "other tools stop at it", "store the mask's box", _OWN_BOX),
    "box-not-numbers": Rule(
        DROP_ANN,
        "a box is not four finite numbers",
        "one NaN or infinity makes every weight NaN",
        "recompute it from the mask",
        _NO_ANNOTATION,
    ),
    "box-without-area": Rule(
        DROP_ANN,
        "a box has no area",
        "there is nothing to learn, and other tools stop at it in mid-epoch",
        "remove the annotation, or redraw it",
        _NO_ANNOTATION,
    ),
    "box-of-corners": Rule(
        WARN,
        "a box holds two corners instead of corner and size",
        "scores of boxes mean nothing; it is the commonest mistake of converters",
        "store x, y, width, height",
        _OWN_BOX,
    ),
    "area-not-a-number": Rule(
        DROP_ANN,
        "an area is no number of pixels",
        "objects cannot be sorted by size",
        "recompute it from the mask",
        _NO_ANNOTATION,
    ),
    "annotation-id-repeated": Rule(
        WARN,
        "annotations share an id",
        "pycocotools gives perfect results an AP of 0.25",
        "number them anew",
        _RENUMBER,
    ),
    "annotation-without-id": Rule(
        WARN, "an annotation has no id", "other tools stop at it", "number them anew", _RENUMBER
    ),
    "segmentation-missing": Rule(
        DROP_ANN,
        "an annotation has no mask",
        "a box alone cannot train masks",
        "draw the mask, or remove the annotation",
        _NO_ANNOTATION,
    ),
    "segmentation-of-other-form": Rule(
        DROP_ANN, "a segmentation is neither polygons nor RLE", "it cannot be drawn", "convert it", _NO_ANNOTATION
    ),
    "polygon-invalid": Rule(
        DROP_ANN,
        "a polygon cannot be drawn",
        "other tools crash at it, or draw something else",
        "redraw it",
        _NO_ANNOTATION,
    ),
    "polygon-without-area": Rule(
        DROP_ANN,
        "the points of a polygon lie on one line",
        "it encloses nothing",
        "remove the annotation",
        _NO_ANNOTATION,
    ),
    "polygon-part-left-out": Rule(
        WARN,
        "a polygon has fewer than three points",
        "it encloses nothing; pycocotools may read all of them as a box",
        "remove that part",
        "removes that part",
    ),
    "rle-invalid": Rule(
        DROP_ANN,
        "an RLE cannot be decoded",
        "other tools read memory that is not theirs",
        "encode the mask anew",
        _NO_ANNOTATION,
    ),
    "mask-without-area": Rule(
        DROP_ANN,
        "a mask has no pixel inside the picture",
        "there is nothing to learn",
        "remove the annotation",
        _NO_ANNOTATION,
    ),
}
