from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ecul.data.batches import load_batches, local_slice
from ecul.data.images import ImageStore, read_image
from ecul.data.samplers import BatchPlan
from ecul.errors import DataError


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((8, 4, 3), number * 10, np.uint8)).save(path)
        paths.append(str(path))
    return paths


def test_one_channel_becomes_three_equal_ones(tmp_path: Path):
    Image.fromarray(np.arange(32, dtype=np.uint8).reshape(8, 4)).save(tmp_path / "grey.png")
    image = read_image(str(tmp_path / "grey.png"), height=8, width=4)
    assert image.shape == (3, 8, 4)
    assert (image[0] == image[1]).all()
    assert (image[0] == image[2]).all()


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_unreadable_images_are_named(tmp_path: Path, content: bytes):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png"):
        read_image(str(path), height=8, width=4)


def test_missing_images_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.png is missing"):
        read_image(str(tmp_path / "gone.png"), height=8, width=4)


@pytest.mark.parametrize("cache_bytes", [0, 10**9])
def test_cached_and_uncached_images_are_the_same(files: list[str], cache_bytes: int):
    store = ImageStore(files, height=8, width=4, cache_bytes=cache_bytes)
    assert store.cached == bool(cache_bytes)
    assert store.get(np.array([3, 1]))[:, 0, 0, 0].tolist() == [30, 10]
    assert store.num_bytes == 4 * 3 * 8 * 4


def test_batches_come_in_order_and_sliced(files: list[str]):
    store = ImageStore(files, height=8, width=4, cache_bytes=10**9)
    plans = [BatchPlan(np.array([0, 1]), np.array([2, 3])), BatchPlan(np.array([3, 2]), np.array([1, 0]))]
    batches = list(load_batches(store, plans, rank=1, world_size=2, device=torch.device("cpu")))
    assert [int(visible[0, 0, 0, 0]) for _, visible, _ in batches] == [10, 20]
    assert [int(infrared[0, 0, 0, 0]) for _, _, infrared in batches] == [30, 0]


def test_an_uneven_split_is_refused():
    assert local_slice(8, rank=1, world_size=4) == slice(2, 4)
    with pytest.raises(ValueError, match="6 images cannot be split over 4"):
        local_slice(6, rank=0, world_size=4)
