"""What the doctor finds by looking at masks and pixels: each rule's outcome, why it matters, and what helps."""

from panet.data.problems import Outcome
from panet.doctor.rule import Rule

__all__ = ["RULES_OF_LOOKING"]

WARN, DROP_IMG, FATAL = Outcome.WARN, Outcome.DROP_IMG, Outcome.FATAL

RULES_OF_LOOKING: dict[str, Rule] = {
    "box-not-the-masks": Rule(
        WARN,
        "the stored box is not the mask's box",
        "box AP is scored against the stored box, so a perfect mask loses box score; training uses the mask's box",
        "recompute the box from the mask, or redraw the mask",
        "stores the mask's box",
    ),
    "area-not-the-masks": Rule(
        WARN,
        "the stored area is not the mask's area",
        "COCO sorts objects into small, medium and large by the stored area, so APs, APm and APl shift",
        "recompute the area from the mask",
        "stores the mask's area",
    ),
    "outline-crosses-itself": Rule(
        WARN,
        "a polygon crosses itself",
        "where an outline encloses a place twice, COCO's rule draws a hole or leaves a strip out",
        "redraw the outline",
    ),
    "one-pixel-part": Rule(
        WARN,
        "a part of the mask is a single pixel, or none",
        "a stray click or a slip of the brush stretches the object's box to it",
        "delete the part",
    ),
    "mask-leaves-picture": Rule(
        WARN,
        "an outline leaves the picture",
        "what lies outside is cut off; far outside, it hints at a wrong size, scale or picture",
        "clip the outline, or correct width and height",
        "cuts stored box and area to what is inside, where they differ",
    ),
    "duplicate-object": Rule(
        WARN,
        "the same object is annotated twice",
        "only one of the two can be found, so recall is lost for ever, and NMS and training fight each other",
        "delete one of them",
        "removes the later one",
    ),
    "same-mask-two-classes": Rule(
        WARN,
        "one mask has two classes",
        "the classes contradict each other: the model learns neither",
        "keep the class that is right",
    ),
    "size-swapped": Rule(
        DROP_IMG,
        "width and height are swapped",
        "masks are drawn into a picture of another shape; strict training refuses it",
        "swap width and height in the file",
        "swaps them, if the outlines fit the picture's file and not the stated size; else leaves the picture out",
    ),
    "size-scaled": Rule(
        DROP_IMG,
        "the picture's file is larger or smaller than stated, by one factor",
        "the picture was resized after it was annotated: every mask is at the wrong place",
        "use the original picture, or scale the annotations by the factor",
        "leaves the picture out: which of the two is right cannot be told",
    ),
    "exif-turned": Rule(
        WARN,
        "the picture's file carries an EXIF orientation",
        "programs that do not read EXIF see it turned or mirrored against its masks",
        "save the picture upright, and look at its masks",
    ),
    "same-file-twice": Rule(
        WARN,
        "two pictures of one part are the same file",
        "its objects count twice in training or scores, and may be annotated differently",
        "keep one, with the better annotations",
    ),
    "same-file-in-both": Rule(
        WARN,
        "a picture of train is in val too, byte for byte",
        "scores on val tell what was learnt by heart",
        "remove it from one of the parts",
    ),
    "near-duplicate-picture": Rule(
        WARN,
        "a picture of val looks like one of train",
        "a copy, another compression or a neighbouring frame: scores on val are too good",
        "keep all pictures of one scene in one part",
    ),
    "classes-differ": Rule(
        FATAL,
        "train and val list different classes",
        "labels would mean different things in training and scoring; training refuses it",
        "list the same categories with the same ids in both files",
    ),
    "class-named-twice": Rule(
        WARN,
        "two classes have the same name but for case, spaces and signs",
        "objects of one kind are split over two classes, which compete",
        "merge them",
    ),
    "class-without-objects": Rule(
        WARN,
        "a class has no object",
        "an output is spent on what is never seen; often a parent category of an export, or a mistyped id",
        "remove the category, or annotate it",
    ),
    "few-objects-of-class": Rule(
        WARN,
        "classes have too few objects to be learnt",
        "the model will hardly ever predict them, and their AP is chance; the mean AP counts them in full",
        "annotate more, or merge rare classes",
    ),
    "anchors-miss-objects": Rule(
        WARN,
        "the model's anchors do not fit the objects' sizes",
        "an object that no anchor overlaps by half is proposed late and badly",
        "set model.rpn.anchor_sizes and anchor_ratios, or model.short_side, so that the sizes meet",
    ),
    "more-objects-than-detections": Rule(
        WARN,
        "a picture holds more objects than detections count",
        "even perfect results lose the surplus: recall and AP have a ceiling below 1",
        "raise --max-dets for scores and model.detection.max_detections, or tile the picture",
    ),
}
