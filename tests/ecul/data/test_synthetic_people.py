"""Drawing: the same bytes for a seed, the promised counts, and images that are hard in the right way."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from ecul.data.dataset import SYNTHETIC_MARKER, open_dataset
from ecul.data.synthetic import SyntheticDifficulty, pretraining_images, synthesize
from ecul.data.synthetic.counters import Stream, hash_keys
from ecul.data.synthetic.drawing import Shots, draw_shots
from ecul.data.synthetic.plan import DRAWN_LAYOUTS, PlanRequest, make_plan
from ecul.errors import DataError

SMALL = {"num_identities": 3, "num_test_identities": 2, "images_per_camera": 2, "height": 20, "width": 16}


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def shots(identity, camera, number, *, infrared=False):
    columns = np.broadcast_arrays(*(np.asarray(column, np.int32) for column in (identity, camera, number)))
    return Shots(*(column.astype(np.int32) for column in columns), infrared=infrared)


def drawn(chosen: Shots, *, seed=0, population=0, height=64, width=32, **knobs):
    difficulty = SyntheticDifficulty(**knobs)
    return draw_shots(chosen, seed=seed, population=population, height=height, width=width, difficulty=difficulty)


@pytest.mark.parametrize("layout", DRAWN_LAYOUTS)
def test_a_seed_gives_the_same_bytes_with_any_number_of_workers(tmp_path, layout):
    for name, seed, num_workers in (("one", 5, 1), ("many", 5, 4), ("other", 6, 1)):
        synthesize(tmp_path / name, layout=layout, seed=seed, num_workers=num_workers, **SMALL)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")
    assert contents(tmp_path / "one") != contents(tmp_path / "other")


def test_a_layout_without_a_plan_is_not_drawn_as_another_one():
    with pytest.raises(
        DataError, match=f"no synthetic plan for layout 'market'; choose one of {', '.join(DRAWN_LAYOUTS)}"
    ):
        make_plan("market", PlanRequest(num_identities=3, num_test_identities=2, seed=0))


def test_an_image_does_not_depend_on_the_others():
    together = drawn(shots([1, 2, 3, 2], [4, 4, 1, 4], [0, 0, 0, 1]))
    alone = drawn(shots([2], [4], [1]))
    np.testing.assert_array_equal(together[3], alone[0])
    assert (together[1] != together[3]).any()


def test_infrared_has_one_channel_and_colour_stays_visible():
    visible, infrared = drawn(shots([1], [1], [0])), drawn(shots([1], [1], [0], infrared=True))
    assert visible.shape == (1, 64, 32, 3)
    assert infrared.shape == (1, 64, 32, 1)
    assert np.ptp(visible.astype(int), axis=3).mean() > 5


def test_saturation_changes_no_infrared_pixel():
    chosen = shots(np.arange(4), 3, 0, infrared=True)
    np.testing.assert_array_equal(drawn(chosen, saturation=0.1), drawn(chosen, saturation=0.9))


def test_the_marker_tells_the_counts_that_the_loader_finds(tmp_path):
    synthesize(tmp_path / "set", layout="sysu", seed=1, **SMALL)
    counts = json.loads((tmp_path / "set" / SYNTHETIC_MARKER).read_text())["counts"]
    dataset = open_dataset(tmp_path / "set", layout="sysu")
    for split, index in (("train", dataset.train), ("test", dataset.test)):
        found = [len(np.unique(index.identity)), *np.bincount(index.samples.modality).tolist()]
        assert [counts[split][name] for name in ("identities", "visible", "infrared")] == found


def test_every_person_is_seen_in_both_modalities(tmp_path):
    synthesize(tmp_path / "set", layout="sysu", seed=2, **(SMALL | {"num_identities": 20}))
    index = open_dataset(tmp_path / "set", layout="sysu").train
    for identity in np.unique(index.identity):
        assert set(index.samples.modality[index.identity == identity].tolist()) == {0, 1}


def test_counts_are_followed_exactly(tmp_path):
    counts = np.zeros((6, 6), np.int32)
    counts[:, :5] = np.random.default_rng(0).integers(0, 3, (6, 5))
    counts[[0, 2], :4] = 1
    counts[:, 4] = [1, 0, 0, 0, 0, 0]
    np.savez(tmp_path / "counts.npz", counts=counts, train_id=np.array([1, 3]), test_id=np.array([2]))
    options = {"layout": "sysu", "num_identities": None, "height": 16, "width": 16, "seed": 0}
    number = synthesize(tmp_path / "set", counts=tmp_path / "counts.npz", **options)
    assert number == counts.sum() == len(list((tmp_path / "set").rglob("*.jpg")))
    dataset = open_dataset(tmp_path / "set", layout="sysu", hold_out_validation=True)
    assert dataset.validation is not None
    assert [sorted(set(index.identity.tolist())) for index in (dataset.train, dataset.validation, dataset.test)] == [
        [1, 3],
        [4],
        [2],
    ]
    for index in (dataset.train, dataset.validation, dataset.test):
        for camera, identity in {*zip(index.samples.camera.tolist(), index.identity.tolist(), strict=True)}:
            found = ((index.samples.camera == camera) & (index.identity == identity)).sum()
            assert found == counts[camera - 1, identity - 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "market"}, f"no synthetic plan for layout 'market'; choose one of {', '.join(DRAWN_LAYOUTS)}"),
        ({"height": 4}, "image size 4x16"),
        ({"num_identities": 1}, "got 1 training identities"),
        ({"images_per_camera": 0}, "0 images"),
        ({"num_identities": None}, "give --identities N, --counts NPZ or --benchmark NAME"),
        ({"counts": "x.npz"}, "leave out --identities or --counts"),
        ({"counts": "x.npz", "num_identities": None}, r"cannot read a file of image counts x\.npz: No such file"),
        ({"counts": "x.npz", "layout": "regdb"}, "counts are of the sysu layout"),
        ({"counts": "x.npz", "num_identities": None, "benchmark": "people"}, "leave out the benchmark"),
        ({"benchmark": "people", "layout": "regdb"}, "imbalance are of the sysu layout, got regdb"),
        ({"unpaired_share": 0.5, "layout": "llcm"}, "unpaired people .* are of the sysu layout, got llcm"),
        ({"unpaired_share": 1.5}, r"unpaired people is 1.5, expected a number in \[0, 1\]"),
    ],
)
def test_options_that_cannot_be_used_are_refused(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        synthesize(tmp_path / "set", **({"layout": "sysu", "seed": 0} | SMALL | options))
    assert not (tmp_path / "set").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="not an empty folder"):
        synthesize(tmp_path, layout="sysu", seed=0, **SMALL)
    assert contents(tmp_path) == {"mine.txt": b"precious"}


def test_pretraining_people_and_cameras_are_in_no_dataset():
    images, identity = pretraining_images(num_identities=3, num_cameras=4, height=24, width=16, seed=0)
    assert images.shape == (12, 3, 24, 16)
    assert identity.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    dataset = drawn(shots(np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3), 0), height=24, width=16)
    assert (images.transpose(0, 2, 3, 1) != dataset).any(axis=(1, 2, 3)).all()
    again, _ = pretraining_images(num_identities=2, num_cameras=4, height=24, width=16, seed=0)
    np.testing.assert_array_equal(images[:8], again)


def test_raw_pixels_find_the_camera_and_not_the_person_across_modalities():
    people = np.arange(50)
    pixels, who, where = {}, {}, {}
    for infrared, cameras in ((False, (1, 2, 4, 5)), (True, (3, 6))):
        chosen = shots(np.repeat(people, len(cameras)), np.tile(cameras, len(people)), 0, infrared=infrared)
        flat = np.repeat(drawn(chosen, seed=11), 3 if infrared else 1, axis=3).reshape(len(chosen), -1) / 255.0
        pixels[infrared] = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        who[infrared], where[infrared] = chosen.identity, chosen.camera
    nearest = (pixels[True] @ pixels[False].T).argmax(axis=1)
    assert (who[False][nearest] == who[True]).mean() < 0.1
    similarity = pixels[False] @ pixels[False].T
    np.fill_diagonal(similarity, -1.0)
    nearest = similarity.argmax(axis=1)
    right_camera = (where[False][nearest] == where[False]).mean()
    right_person = (who[False][nearest] == who[False]).mean()
    assert right_camera > 0.7
    assert right_camera > right_person + 0.3


def test_every_knob_of_the_difficulty_is_documented():
    documented = SyntheticDifficulty.__doc__ or ""
    assert all(f"{field.name}:" in documented for field in dataclasses.fields(SyntheticDifficulty))


def test_counters_do_not_depend_on_what_is_drawn_together():
    whole = Stream(1, 2, np.arange(50))
    first, second = whole.uniform(), whole.uniform()
    part = Stream(1, 2, np.arange(10, 20))
    np.testing.assert_array_equal(part.uniform(), first[10:20])
    np.testing.assert_array_equal(part.uniform(), second[10:20])
    assert len(np.unique(hash_keys(0, np.arange(1000)[:, None], np.arange(100)[None]))) == 100_000


def test_counters_are_uniform():
    numbers = Stream(0, 0, np.arange(100_000)).uniform(2.0, 4.0)
    assert numbers.min() >= 2.0
    assert numbers.max() < 4.0
    np.testing.assert_allclose(np.histogram(numbers, 20, (2.0, 4.0))[0], 5000, rtol=0.06)
    chosen = Stream(0, 0, np.arange(100_000)).choose((0.2, 0.5, 0.3))
    np.testing.assert_allclose(np.bincount(chosen) / 1e5, [0.2, 0.5, 0.3], atol=0.01)
