"""Masks cut out of a picture and pasted back, by hand values."""

import pytest
import torch

from panet.ops.paste import crop_masks, paste_mask, paste_probabilities


def rows(*lines):
    return torch.tensor([[mark == "#" for mark in line] for line in lines])


def crop(mask, box, size, **options):
    return crop_masks(mask[None], torch.tensor([box], dtype=torch.float32), torch.tensor([0]), size, **options)[0]


def test_no_boxes_give_a_shaped_empty():
    index = torch.zeros(0, dtype=torch.int64)
    assert crop_masks(torch.zeros(0, 5, 6, dtype=torch.bool), torch.zeros(0, 4), index, 7).shape == (0, 7, 7)


def test_a_cell_is_set_where_at_least_half_of_it_is_covered():
    # Quarters of the picture with 3, 2, 1 and 0 of their 4 pixels.
    mask = rows(
        "###.",
        "#..#",
        "#...",
        "....",
    )
    assert crop(mask, (0, 0, 4, 4), 2).tolist() == [[1, 1], [0, 0]]


def test_a_box_that_cuts_pixels_counts_their_parts():
    # One cell over x 0.5 .. 2.5: half of pixel 0, all of 1, half of 2.
    assert crop(rows("#.."), (0.5, 0, 2.5, 1), 1).item() == 0  # a quarter
    assert crop(rows(".#."), (0.5, 0, 2.5, 1), 1).item() == 1  # a half
    assert crop(rows("#.#"), (0.5, 0, 2.5, 1), 1).item() == 1


def test_one_pixel_a_cell_gives_the_mask_itself():
    mask = rows("#.#.", "..##", "#..#")
    assert (
        crop(mask, (0, 0, 4, 3), 12).reshape(12, 4, 3)[:, :, 1].reshape(3, 4, 4)[:, 1].bool().tolist() == mask.tolist()
    )


def test_what_lies_outside_of_the_picture_is_not_covered():
    assert crop(torch.ones(4, 4, dtype=torch.bool), (-4, 0, 4, 4), 2).tolist() == [[0, 1], [0, 1]]
    assert crop(torch.ones(4, 4, dtype=torch.bool), (2, 2, 10, 10), 4).tolist() == [[1, 0, 0, 0]] + [[0] * 4] * 3


def test_each_box_is_cut_out_of_the_mask_it_names():
    masks = torch.stack((torch.zeros(4, 4), torch.ones(4, 4))).bool()
    boxes = torch.tensor([[0.0, 0, 4, 4]]).repeat(3, 1)
    assert crop_masks(masks, boxes, torch.tensor([1, 0, 1]), 1).flatten().tolist() == [1, 0, 1]


def paste(grid, box, size, threshold=0.5):
    return paste_mask(
        torch.as_tensor(grid, dtype=torch.float32), torch.tensor(box, dtype=torch.float32), size, threshold
    )


def test_a_full_grid_fills_the_pixels_whose_centres_the_box_holds():
    window, left, top = paste(torch.ones(2, 2), (1, 1, 3, 4), (5, 6))
    assert (window.tolist(), left, top) == ([[True, True]] * 3, 1, 1)
    window, left, top = paste(torch.ones(2, 2), (0.6, 0.4, 2.4, 2.6), (5, 6))
    assert (window.tolist(), left, top) == ([[True]] * 3, 1, 0)  # columns 1; rows 0, 1, 2


def test_the_grid_is_read_bilinearly_at_pixel_centres():
    # Cell centres at 1 and 3, pixel centres at 0.5, 1.5, 2.5, 3.5: values 0, 0.25, 0.75, 1.
    box, size = (0, 0, 4, 1), (1, 4)
    assert paste([[0, 1], [0, 1]], box, size)[0].tolist() == [[False, False, True, True]]
    assert paste([[0, 1], [0, 1]], box, size, 0.25)[0].tolist() == [[False, True, True, True]]
    assert paste([[0, 1], [0, 1]], box, size, 0.76)[0].tolist() == [[False, False, False, True]]


def test_rows_of_the_grid_are_rows_of_the_picture():
    assert paste([[1, 1], [0, 0]], (0, 0, 2, 4), (4, 2))[0][:, 0].tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("box", "window_size", "place"),
    [
        ((-2, -3, 3, 2), (2, 3), (0, 0)),
        ((4, 3, 9, 9), (2, 2), (4, 3)),
        ((-9, -9, 99, 99), (5, 6), (0, 0)),
    ],
)
def test_a_window_ends_where_the_picture_ends(box, window_size, place):
    window, left, top = paste(torch.ones(4, 4), box, (5, 6))
    assert (tuple(window.shape), (left, top)) == (window_size, place)
    assert window.all()


def test_a_box_over_the_edge_shows_the_part_of_the_grid_that_is_inside():
    # The right half of a grid whose left half is set, and the other way round.
    grid = [[1, 1, 0, 0]] * 4
    assert not paste(grid, (-4, 0, 4, 4), (4, 8))[0].any()
    assert paste(grid, (4, 0, 12, 4), (4, 8))[0].all()


@pytest.mark.parametrize("box", [(2.6, 2.6, 3.4, 3.4), (3, 3, 3, 3), (-9, -9, -2, -2), (20, 20, 30, 30), (9, 9, 2, 2)])
def test_a_box_without_a_pixel_centre_gives_an_empty_window(box):
    window, left, top = paste(torch.ones(4, 4), box, (5, 6))
    assert window.numel() == 0
    assert (left, top) == (0, 0)


def test_a_box_beside_the_picture_gives_a_window_without_columns():
    window, left, _ = paste(torch.ones(4, 4), (-5, 3, -1, 5), (5, 6))
    assert (tuple(window.shape), left) == ((2, 0), 0)


def test_no_grids_give_a_shaped_empty_picture():
    assert paste_probabilities(torch.zeros(0, 28, 28), torch.zeros(0, 4), (5, 6)).shape == (0, 5, 6)


def test_probabilities_are_those_that_are_compared_with_the_threshold():
    generator = torch.Generator().manual_seed(0)
    grids = torch.rand(8, 7, 7, generator=generator)
    corners = torch.rand(8, 4, generator=generator) * 12 - 1  # some reach over the 9 x 11 px
    boxes = torch.cat((torch.minimum(corners[:, :2], corners[:, 2:]), torch.maximum(corners[:, :2], corners[:, 2:])), 1)
    pictures = paste_probabilities(grids, boxes, (9, 11))
    for grid, box, picture in zip(grids, boxes, pictures, strict=True):
        mask, left, top = paste_mask(grid, box, (9, 11))
        expected = torch.zeros(9, 11, dtype=torch.bool)
        expected[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        assert torch.equal(picture >= 0.5, expected)
    assert (pictures.flatten(1) > 0).any(1).sum() > 4


def test_probabilities_are_zero_off_the_box():
    picture = paste_probabilities(torch.full((1, 2, 2), 0.25), torch.tensor([[1.0, 2, 3, 4]]), (5, 5))[0]
    assert picture[2:4, 1:3].tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert picture.sum() == 1
