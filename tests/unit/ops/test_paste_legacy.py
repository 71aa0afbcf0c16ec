import torch

from panet.ops.paste import paste_mask


def test_a_grown_box_is_enlarged_by_a_cell_and_cut_to_whole_pixels():
    full = torch.ones(28, 28)
    box = torch.tensor([4.0, 6.0, 9.0, 8.0])
    mask, left, top = paste_mask(full, box, (20, 20), grown=True)
    # Grown by 30 / 28: columns 3.82 .. 9.18, rows 5.93 .. 8.07; cut, the first and the last pixel.
    assert (left, top) == (3, 5)
    assert mask.shape == (4, 7)
    exclusive, left, top = paste_mask(full, box, (20, 20))
    assert (left, top) == (4, 6)
    assert exclusive.shape == (2, 5)


def test_a_grown_mask_must_be_above_the_threshold():
    grid = torch.full((28, 28), 0.5)
    box = torch.tensor([4.0, 4.0, 9.0, 9.0])
    assert paste_mask(grid, box, (20, 20))[0].all()
    assert not paste_mask(grid, box, (20, 20), grown=True)[0].any()


def test_a_grown_box_of_one_pixel_gives_a_pixel():
    mask, left, top = paste_mask(torch.ones(28, 28), torch.tensor([3.0, 5.0, 3.0, 5.0]), (8, 8), grown=True)
    assert mask.tolist() == [[True]]
    assert (left, top) == (3, 5)


def test_a_grown_mask_is_cut_at_the_picture():
    mask, left, top = paste_mask(torch.ones(4, 4), torch.tensor([0.0, 0.0, 7.0, 7.0]), (8, 8), grown=True)
    assert mask.shape == (8, 8)
    assert (left, top) == (0, 0)
