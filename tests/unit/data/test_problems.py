import json

from panet.data.problems import Outcome, Problem, count_outcomes

BOX = Problem(Outcome.DROP_ANN, "box-without-area", "val.json", "annotation 7", "box [1, 2, 0, 3] has no area", 3, 7)


def test_a_problem_reads_as_one_line_of_file_place_and_reason() -> None:
    assert str(BOX) == "val.json: annotation 7: box [1, 2, 0, 3] has no area"


def test_a_problem_of_a_whole_file_names_no_place() -> None:
    assert str(Problem(Outcome.FATAL, "no-images", "val.json", "", "lists no images")) == "val.json: lists no images"


def test_a_problem_is_json() -> None:
    document = json.loads(json.dumps(BOX.to_document()))
    assert document["outcome"] == "drop_annotation"
    assert document["annotation_id"] == 7


def test_outcomes_that_do_not_occur_are_counted_as_none() -> None:
    assert count_outcomes([]) == {"warn": 0, "drop_annotation": 0, "drop_image": 0, "fatal": 0}
    assert count_outcomes([BOX, BOX])["drop_annotation"] == 2
