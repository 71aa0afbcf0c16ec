"""Loaders: complete, deterministic, resumable, with and without workers."""

import hashlib
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from panet.config import DataConfig, ModelConfig, PixelConfig
from panet.data.batching import make_image_batch
from panet.data.build import (
    build_batch,
    build_normalise,
    build_test_batch,
    build_test_extremes,
    build_test_loader,
    build_train_loader,
    mean_test_area,
    mean_train_area,
    steps_per_epoch,
)
from panet.data.coco import read_coco
from panet.data.image_table import ImageTable
from panet.data.images import read_image
from panet.data.packing import PackedTexts
from panet.data.synthetic import write_shapes
from panet.data.transforms import apply_view, view_for_test
from panet.errors import ConfigError, DataError

MODEL = ModelConfig(num_classes=4, short_side=64, max_side=96)
DATA = DataConfig(
    short_sides=(48, 64),
    max_side=96,
    batch_size=3,
    workers=0,
    flip=0.5,
    vertical_flip=0.5,
    colour_jitter=0.4,
    scale_jitter=(0.5, 2.0),
    crop=(64, 64),
)


@pytest.fixture
def shapes(tmp_path):
    write_shapes(tmp_path, 10, 3, 64, seed=5)
    return read_coco(tmp_path / "train.json", tmp_path / "images")


def assert_equal(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.image_ids == other.image_ids
        assert torch.equal(batch.images.tensor, other.images.tensor)
        for target, same in zip(batch.targets, other.targets, strict=True):
            assert torch.equal(target.boxes, same.boxes)
            assert torch.equal(target.masks, same.masks)


def train_batches(dataset, data=DATA, start_step=0, num_steps=6, seed=0):
    return list(build_train_loader(dataset, data, MODEL, seed, start_step, num_steps))


def test_an_epoch_shows_every_picture_once(shapes):
    assert steps_per_epoch(shapes, DATA) == 4
    batches = train_batches(shapes, num_steps=4)
    assert sorted(image_id for batch in batches for image_id in batch.image_ids) == list(range(1, 11))
    assert all(tuple(batch.images.tensor.shape[-2:]) <= (64, 64) for batch in batches)


def test_resuming_continues_the_same_run(shapes):
    assert_equal(train_batches(shapes, start_step=3), train_batches(shapes)[3:])


def test_a_batch_tells_where_it_comes_from_and_can_be_made_again_from_that(shapes):
    batches = train_batches(shapes)
    assert [batch.sources[0].epoch for batch in batches] == [0, 0, 0, 0, 1, 1]
    for batch in batches:
        records = [shapes.images[source.index] for source in batch.sources]
        assert [record.id for record in records] == batch.image_ids
        assert [record.file_name for record in records] == [source.file_name for source in batch.sources]
        keys = [(source.epoch, source.index) for source in batch.sources]
        assert_equal([build_batch(shapes, DATA, MODEL, 0, keys)], [batch])


def test_the_global_generator_neither_moves_nor_matters(shapes):
    first = train_batches(shapes)
    torch.manual_seed(77)
    before = torch.get_rng_state()
    assert_equal(train_batches(shapes), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_another_run(shapes):
    assert train_batches(shapes, seed=1)[0].image_ids != train_batches(shapes, seed=0)[0].image_ids


def test_workers_change_nothing(shapes):
    assert_equal(train_batches(shapes, DATA.model_copy(update={"workers": 2})), train_batches(shapes))


def test_a_loader_can_be_sent_to_a_spawned_worker(shapes):
    dataset = build_train_loader(shapes, DATA, MODEL, 0, 0, 1).dataset
    again = pickle.loads(pickle.dumps(dataset))
    assert_equal([again[[(0, 1), (2, 3)]].batch], [dataset[[(0, 1), (2, 3)]].batch])


def tensors_of(table):
    """Give all that a table keeps for its items; anything else would grow with them in every worker."""
    for value in vars(table).values():
        if isinstance(value, PackedTexts):
            yield from tensors_of(value)
        elif not (isinstance(table, ImageTable) and value is table.folder):
            assert isinstance(value, torch.Tensor)
            yield value


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_started_worker_makes_the_same_batches(shapes, method):
    loader = build_train_loader(shapes, DATA.model_copy(update={"workers": 1}), MODEL, 0, 0, 3)
    loader.multiprocessing_context = method
    assert_equal(list(loader), train_batches(shapes, num_steps=3))
    kept = [*tensors_of(shapes.annotations), *tensors_of(shapes.images)]
    assert len(kept) == 17
    assert all(tensor.is_shared() for tensor in kept if len(tensor)) == (method == "spawn")


@pytest.mark.parametrize(("workers", "method"), [(0, "fork"), (2, "fork"), (1, "spawn")])
def test_a_cache_changes_nothing_and_is_filled_from_all_workers(shapes, tmp_path, workers, method):
    data = DATA.model_copy(update={"scale_jitter": None, "crop": None})
    kept = data.model_copy(update={"workers": workers, "cache_dir": str(tmp_path / "cache")})
    expected = train_batches(shapes, data, num_steps=8)
    for _ in range(2):
        loader = build_train_loader(shapes, kept, MODEL, 0, 0, 8)
        loader.multiprocessing_context = method if workers else None
        assert_equal(list(loader), expected)
    num_views = len({(image_id, size) for batch in expected for image_id, size in views(batch)})
    assert 10 < num_views == len(list((tmp_path / "cache").glob("??/*")))


def views(batch):
    return zip(batch.image_ids, batch.images.sizes, strict=True)


def test_the_limit_of_a_cache_is_in_gigabytes(shapes, tmp_path):
    data = DATA.model_copy(update={"cache_dir": str(tmp_path / "cache"), "cache_gb": 3e-5})
    train_batches(shapes, data)
    sizes = [path.stat().st_size for path in (tmp_path / "cache").glob("??/*")]
    assert len(sizes) == 2  # decoded pictures of 64 x 64 and 48 x 64: 12308 or 9236 bytes
    assert sum(sizes) <= 30_000


@pytest.mark.parametrize("inside", ["images", "images/cache", "cache"])
def test_a_cache_in_the_data_set_is_refused(shapes, tmp_path, inside):
    data = DATA.model_copy(update={"root": str(tmp_path), "cache_dir": str(tmp_path / inside)})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=r"data\.cache_dir: \S+ lies in the data set's folder \S+, where nothing is"):
        build_train_loader(shapes, data, MODEL, 0, 0, 1)
    assert sorted(tmp_path.rglob("*")) == before


def test_samples_are_those_recorded(shapes):
    data = DATA.model_copy(update={"scale_jitter": None, "crop": (40, 40), "colour_jitter": 0.0})
    digest = hashlib.blake2b(digest_size=8)
    for batch in train_batches(shapes, data, num_steps=12):
        digest.update(repr(batch.image_ids).encode() + batch.images.tensor.contiguous().numpy().tobytes())
        for target in batch.targets:
            for part in (target.boxes, target.labels, target.masks, target.crowd):
                digest.update(part.contiguous().numpy().tobytes())
    # Crops and flips compute nothing. e9cbbfb77740d60d before slivers of cut objects became crowds.
    assert digest.hexdigest() == "10850eb9565b5117"


@pytest.mark.parametrize("workers", [0, 1])
def test_the_test_loader_gives_every_picture_in_order_with_targets(shapes, workers):
    loader = build_test_loader(shapes, MODEL, workers)
    for _ in range(2):
        batches = list(loader)
        assert len(loader) == len(batches) == 10
        assert [batch.image_ids for batch in batches] == [[image.id] for image in shapes.images]
        for index, batch in enumerate(batches):
            assert min(batch.images.sizes[0]) == 64
            record = shapes.images[index]
            assert batch.images.original_sizes == ((record.height, record.width),)
            assert batch.targets[0].labels.tolist() == shapes.annotations[index].labels.tolist()
            assert batch.targets[0].crowd.tolist() == shapes.annotations[index].crowd.tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_one_line_also_from_a_worker(shapes, workers):
    shapes.images[4].path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"train_0004\.png: is no picture") as caught:
        list(build_test_loader(shapes, MODEL, workers))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "I;16"])
def test_pictures_of_other_modes_come_through_workers(shapes, mode):
    path = shapes.images[0].path
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 200)
    (deep if mode == "I;16" else Image.fromarray(grey).convert(mode)).save(path)
    batch = next(iter(build_test_loader(shapes, MODEL, 1)))
    assert batch.images.tensor.isfinite().all()
    assert batch.images.tensor.shape[1] == 3


def test_crop_without_jitter_keeps_the_pictures_scale(shapes):
    data = DATA.model_copy(update={"scale_jitter": None, "crop": (40, 40)})
    for batch in train_batches(shapes, data):
        assert set(batch.images.sizes) == {(40, 40)}


def test_without_crop_whole_pictures_are_resized(shapes):
    data = DATA.model_copy(update={"scale_jitter": None, "crop": None})
    sizes = {size for batch in train_batches(shapes, data, num_steps=12) for size in batch.images.sizes}
    assert {min(size) for size in sizes} == {48, 64}


def test_flips_and_colours_come_from_the_settings(shapes):
    plain = DATA.model_copy(
        update={"scale_jitter": None, "crop": None, "short_sides": (64,), "flip": 0.0, "vertical_flip": 0.0}
    ).model_copy(update={"colour_jitter": 0.0, "batch_size": 1})
    [before] = train_batches(shapes, plain, num_steps=1)
    for name, dims in (("flip", [-1]), ("vertical_flip", [-2]), ("colour_jitter", [])):
        [after] = train_batches(shapes, plain.model_copy(update={name: 1.0}), num_steps=1)
        height, width = before.images.sizes[0]
        (image,), (other,) = before.images.tensor[..., :height, :width], after.images.tensor[..., :height, :width]
        assert torch.equal(image.flip(dims), other) == (name != "colour_jitter")
        assert torch.equal(before.targets[0].masks.flip(dims), after.targets[0].masks)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"crop": None}, r"data\.scale_jitter needs data\.crop"),
        ({"scale_jitter": (2.0, 0.5)}, r"data\.scale_jitter is \[2\.0, 0\.5\]; write the smaller"),
        ({"short_sides": ()}, r"data\.short_sides is empty"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(shapes, changes, why):
    with pytest.raises(ConfigError, match=why):
        build_train_loader(shapes, DATA.model_copy(update=changes), MODEL, 0, 0, 1)


def test_pictures_are_pinned_when_a_loader_asks(shapes, monkeypatch):
    [batch] = train_batches(shapes, num_steps=1)
    expected = batch.images.tensor + 1
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)  # the real one needs a GPU
    pinned = batch.pin_memory()
    assert torch.equal(pinned.images.tensor, expected)
    assert pinned.targets is batch.targets


def test_the_channel_order_comes_from_the_settings():
    assert build_normalise(ModelConfig(pixels=PixelConfig(channels="bgr"))).bgr
    assert not build_normalise(ModelConfig()).bgr


@pytest.mark.shared
def test_real_pictures_with_crowds_and_empties_make_batches(shared_data):
    folder = shared_data / "coco80"
    dataset = read_coco(folder / "train.json", folder / "images")
    data = DATA.model_copy(update={"batch_size": 8})
    batches = train_batches(dataset, data, num_steps=steps_per_epoch(dataset, data))
    assert sum(len(batch) for batch in batches) == 45
    for target in (target for batch in batches for target in batch.targets):
        assert target.boxes.isfinite().all()
        assert (target.boxes[:, 2:] > target.boxes[:, :2]).all()
        assert target.masks.flatten(1).any(dim=1).all()


def test_a_legacy_model_is_tested_on_pictures_resized_as_it_predicts(shapes):
    model = MODEL.model_copy(update={"arithmetic": "legacy", "short_side": 50})
    batch = next(iter(build_test_loader(shapes, model, 0)))
    image = read_image(shapes.images[0].path)
    size = (int(image.shape[1]), int(image.shape[2]))
    view = view_for_test(size, 50, 96, "legacy")
    expected = make_image_batch([apply_view(image, view)], [size], build_normalise(model), [view.factor])
    assert batch.images.factors == expected.factors == (view.factor,)
    assert torch.equal(batch.images.tensor, expected.tensor)
    modern = next(iter(build_test_loader(shapes, MODEL.model_copy(update={"short_side": 50}), 0)))
    assert modern.images.factors is None
    assert modern.images.sizes == batch.images.sizes
    assert not torch.equal(modern.images.tensor, batch.images.tensor)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_rots_on_the_way_ends_a_strict_run_and_is_left_out_of_a_lenient_one(shapes, workers):
    lenient = DATA.model_copy(update={"on_bad_data": "skip", "batch_size": 5, "workers": workers})
    whole = train_batches(shapes, lenient, num_steps=2)
    shapes.images[3].path.write_bytes(b"rot")
    dropped = []
    loader = build_train_loader(shapes, lenient, MODEL, 0, 0, 2, dropped.append)
    for batch, other in zip(loader, whole, strict=True):
        assert batch.image_ids == [number for number in other.image_ids if number != shapes.images[3].id]
    [error] = dropped
    assert str(shapes.images[3].path) in str(error)
    with pytest.raises(DataError, match="is no picture"):
        train_batches(shapes, lenient.model_copy(update={"on_bad_data": "strict"}), num_steps=2)


def test_a_batch_without_any_picture_is_an_error(shapes):
    for image in shapes.images:
        image.path.unlink()
    with pytest.raises(DataError, match="no such file"):
        train_batches(shapes, DATA.model_copy(update={"on_bad_data": "skip"}), num_steps=1)


def test_a_test_batch_is_that_of_the_test_loader(shapes):
    model = MODEL.model_copy(update={"arithmetic": "torchvision"})
    expected = list(build_test_loader(shapes, model, workers=0))
    assert_equal([build_test_batch(shapes, model, index) for index in range(len(shapes))], expected)


def write_plain(folder, sizes, counts):
    """Write pictures of one colour with so many squares on each."""
    images, annotations = [], []
    for number, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png"})
        square = {"image_id": number, "category_id": 1, "segmentation": [[1, 1, 6, 1, 6, 6, 1, 6]]}
        annotations += [{"id": len(annotations) + i, **square} for i in range(count)]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "square"}]}
    (folder / "train.json").write_text(json.dumps(document))
    return read_coco(folder / "train.json", folder)


@pytest.mark.parametrize(
    ("sizes", "counts", "extremes"),
    [
        ([(40, 40), (40, 60), (200, 200)], [0, 0, 0], (1, 0)),  # as the model sees them: 64 x 64, 64 x 96, 64 x 64
        ([(40, 40), (40, 60), (30, 90)], [1, 2, 5], (1, 2)),  # the last becomes 32 x 96
        ([(40, 40), (40, 60)], [1, 2], (1,)),
    ],
)
def test_the_costliest_to_evaluate_are_the_largest_as_the_model_sees_it_and_the_most_crowded(
    tmp_path, sizes, counts, extremes
):
    assert build_test_extremes(write_plain(tmp_path, sizes, counts), MODEL) == extremes


def test_mean_areas_are_those_of_the_pictures_as_they_are_shown(tmp_path):
    pictures = write_plain(tmp_path, [(40, 40), (40, 60), (40, 60)], [0, 1, 0])
    assert mean_test_area(pictures, MODEL) == pytest.approx((64 * 64 + 2 * 64 * 96) / 3)
    once = DataConfig(short_sides=(20,), max_side=96)
    assert mean_train_area(pictures, once) == pytest.approx((20 * 20 + 2 * 20 * 30) / 3)
    twice = DataConfig(short_sides=(20, 40), max_side=96)
    assert 20 * 20 < mean_train_area(pictures, twice) < (40 * 40 + 2 * 40 * 60) / 3
