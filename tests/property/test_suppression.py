"""Laws of soft-NMS and box voting."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panet.ops.boxes import iou, mirror
from panet.ops.suppression import soft_suppress, suppress, vote

LAW = settings(max_examples=60, deadline=None, derandomize=True)
DECAY = st.sampled_from(["linear", "gaussian"])


@st.composite
def some_candidates(draw, least=0, most=40):
    """Boxes with area in a picture, scores that differ, groups."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    count = draw(st.integers(least, most))
    start = torch.rand(count, 2, generator=generator) * draw(st.sampled_from([5.0, 60.0]))
    boxes = torch.cat((start, start + 4 + 40 * torch.rand(count, 2, generator=generator)), dim=1)
    scores = (torch.randperm(count, generator=generator) + 1) / (count + 1)
    return boxes, scores, torch.randint(draw(st.integers(1, 3)), (count,), generator=generator)


@LAW
@given(candidates=some_candidates(), decay=DECAY)
def test_soft_nms_never_raises_a_score_takes_a_box_once_and_comes_best_first(candidates, decay):
    boxes, scores, groups = candidates
    kept, lowered = soft_suppress(boxes, scores, groups, decay)
    assert (lowered <= scores[kept]).all()
    assert (lowered >= 1e-4).all()
    assert lowered.tolist() == sorted(lowered.tolist(), reverse=True)
    assert len(set(kept.tolist())) == len(kept)


@LAW
@given(candidates=some_candidates(least=1), decay=DECAY)
def test_the_best_of_each_group_keeps_its_score(candidates, decay):
    boxes, scores, groups = candidates
    kept, lowered = soft_suppress(boxes, scores, groups, decay)
    for group in groups.unique():
        assert lowered[groups[kept] == group].max() == scores[groups == group].max()


@LAW
@given(candidates=some_candidates(), decay=DECAY, limit=st.integers(0, 20))
def test_a_limit_only_cuts_off_the_end(candidates, decay, limit):
    whole, scores = soft_suppress(*candidates, decay)
    part, part_scores = soft_suppress(*candidates, decay, limit=limit)
    assert part.tolist() == whole[:limit].tolist()
    assert torch.equal(part_scores, scores[:limit])


@LAW
@given(candidates=some_candidates(), threshold=st.floats(0.1, 0.9))
def test_boxes_that_do_not_overlap_above_the_threshold_keep_their_scores(candidates, threshold):
    boxes, scores, groups = candidates
    apart = suppress(boxes, scores, groups, threshold - 0.01)  # groups are set apart with rounding in `suppress`
    kept, lowered = soft_suppress(boxes[apart], scores[apart], groups[apart], "linear", threshold=threshold)
    assert kept.tolist() == list(range(len(apart)))
    assert torch.equal(lowered, scores[apart])


@LAW
@given(candidates=some_candidates())
def test_an_ever_narrower_gaussian_is_hard_suppression_of_any_overlap(candidates):
    boxes, scores, groups = candidates
    kept, lowered = soft_suppress(boxes, scores, groups, "gaussian", sigma=1e-12)
    overlap = iou(boxes, boxes)
    expected = []
    for i in scores.argsort(descending=True).tolist():
        if all(groups[i] != groups[j] or overlap[i, j] == 0 for j in expected):
            expected.append(i)
    assert kept.tolist() == expected
    assert torch.equal(lowered, scores[expected])


@LAW
@given(candidates=some_candidates(least=1), decay=DECAY, seed=st.integers(0, 99))
def test_the_order_of_the_boxes_does_not_change_what_soft_nms_gives(candidates, decay, seed):
    boxes, scores, groups = candidates
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(seed))
    kept, lowered = soft_suppress(boxes, scores, groups, decay)
    moved, moved_lowered = soft_suppress(boxes[order], scores[order], groups[order], decay)
    assert order[moved].tolist() == kept.tolist()
    assert torch.equal(moved_lowered, lowered)


@LAW
@given(candidates=some_candidates(least=1), threshold=st.floats(0.1, 1))
def test_a_vote_ends_among_its_voters_and_a_lone_box_stays_exactly(candidates, threshold):
    boxes, scores, groups = candidates
    moved = vote(boxes, groups, boxes, scores, groups, threshold)
    near = (iou(boxes, boxes) >= threshold) & (groups[:, None] == groups)
    for i, box in enumerate(moved):
        voters = boxes[near[i]] if near[i].any() else boxes[i : i + 1]
        assert (box >= voters.amin(dim=0) - 1e-4).all()
        assert (box <= voters.amax(dim=0) + 1e-4).all()
        if len(voters) == 1:
            assert torch.equal(box, boxes[i])


@LAW
@given(candidates=some_candidates(least=1), factor=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_neither_the_order_nor_a_common_factor_of_the_scores_changes_a_vote(candidates, factor, seed):
    boxes, scores, groups = candidates
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(seed))
    moved = vote(boxes, groups, boxes, scores, groups, 0.5)
    again = vote(boxes, groups, boxes[order], scores[order] * factor, groups[order], 0.5)
    torch.testing.assert_close(again, moved, rtol=0, atol=1e-4)


@LAW
@given(candidates=some_candidates(), width=st.integers(50, 200), inclusive=st.booleans())
def test_mirroring_twice_changes_nothing_and_keeps_overlaps(candidates, width, inclusive):
    boxes, _, _ = candidates
    mirrored = mirror(boxes, width, inclusive=inclusive)
    torch.testing.assert_close(mirror(mirrored, width, inclusive=inclusive), boxes, rtol=0, atol=1e-4)
    overlap = iou(boxes, boxes, inclusive=inclusive)
    torch.testing.assert_close(iou(mirrored, mirrored, inclusive=inclusive), overlap, rtol=0, atol=1e-4)
