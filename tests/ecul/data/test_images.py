from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ecul.data.batches import load_batches, local_slice
from ecul.data.images import ImageStore, is_constant, read_image
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


def ramp(low: float, high: float, dtype: str) -> np.ndarray:
    """A picture 8 x 4 from low (first pixel) to high (last pixel)."""
    return np.linspace(low, high, 32).astype(dtype).reshape(8, 4)


EXPECTED = np.rint(np.linspace(0, 255, 32)).reshape(8, 4)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (ramp(0, 65535, "uint16"), "full.png"),
        (ramp(3000, 9000, "uint16"), "counts.png"),
        (ramp(3000, 9000, "uint16"), "counts.tif"),
        (ramp(-70_000, 900_000, "int32"), "whole.tiff"),
        (ramp(0, 1, "float32"), "share.tif"),
        (ramp(-5.5, 38.25, "float32"), "degrees.tif"),
        (ramp(1e30, 3e38, "float32"), "huge.tif"),
    ],
)
def test_deep_images_are_scaled_from_their_own_range(values: np.ndarray, name: str, tmp_path: Path):
    Image.fromarray(values).save(tmp_path / name)
    image = read_image(str(tmp_path / name))
    assert (image[0] == image[1]).all()
    assert (image[0] == image[2]).all()
    np.testing.assert_allclose(image[0].astype(float), EXPECTED, atol=1)


def test_a_hot_pixel_does_not_set_the_range_and_values_that_are_no_numbers_are_the_least(tmp_path: Path):
    values = np.tile(np.linspace(3000, 9000, 64), (64, 1))
    values[5, 5] = 65535
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "hot.png")
    image = read_image(str(tmp_path / "hot.png"))[0]
    assert image[0, 0] == 0
    assert image[0, -1] == 255
    with_nan = values.astype(np.float32)
    with_nan[0, -1] = np.nan
    Image.fromarray(with_nan).save(tmp_path / "nan.tif")
    assert read_image(str(tmp_path / "nan.tif"))[0, 0, -1] == 0
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "none.tif")
    with pytest.raises(DataError, match=r"none.tif cannot be read \(none of its values is finite\)"):
        read_image(str(tmp_path / "none.tif"))


def test_few_deep_values_are_told_apart_and_only_constant_images_are_constant(tmp_path: Path):
    values = np.zeros((100, 100), np.uint16)
    values[0, 0] = 7  # fewer pixels than the percentiles leave out
    Image.fromarray(values).save(tmp_path / "one.png")
    image = read_image(str(tmp_path / "one.png"))
    assert (image[0, 0, 0], image[0, 1, 1]) == (255, 0)
    assert not is_constant(image)
    Image.fromarray(values * 0 + 4000).save(tmp_path / "same.png")
    assert is_constant(read_image(str(tmp_path / "same.png")))


TURNS = {2: "fliplr", 3: "rot180", 4: "flipud", 5: "transpose", 6: "rot270", 7: "transverse", 8: "rot90"}


@pytest.mark.parametrize("orientation", [1, *TURNS])
@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "RGB"), ("a.png", "RGB"), ("a.tif", "RGB"), ("b.png", "I;16")])
def test_the_orientation_that_a_camera_wrote_is_applied(orientation: int, name: str, mode: str, tmp_path: Path):
    upright = np.zeros((16, 8, 3), np.uint8)
    upright[:8, :4] = 200  # bright above on the left
    seen = Image.fromarray(upright)
    stored = {  # what a camera writes so that a viewer turns it to `seen`
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    written = seen.transpose(stored[orientation]) if orientation in stored else seen
    if mode == "I;16":
        written = Image.fromarray(np.asarray(written)[:, :, 0].astype(np.uint16) * 40)
        upright = np.where(upright > 0, 255, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    written.save(tmp_path / name, exif=exif)
    image = read_image(str(tmp_path / name))
    assert image.shape == (3, 16, 8)
    np.testing.assert_allclose(image.transpose(1, 2, 0).astype(float), upright, atol=8)


@pytest.mark.filterwarnings("ignore:.*EXIF")
def test_damaged_exif_data_leave_the_image_as_it_is(tmp_path: Path):
    Image.fromarray(np.full((8, 4, 3), 90, np.uint8)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\1")
    assert read_image(str(tmp_path / "a.jpg"))[0, 0, 0] == 90


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "RGB", "L"])
def test_hidden_colours_do_not_count_and_grey_shows_instead(mode: str, tmp_path: Path):
    images = []
    for hidden in (0, 255):
        pixels = np.full((8, 4, 4), hidden, np.uint8)
        pixels[2:6, 1:3] = (200, 200, 200, 255)
        pixels[..., 3] = np.where(pixels[..., 0] == 200, 255, 0)
        path = tmp_path / f"{hidden}.png"
        if mode in ("RGB", "L"):  # a colour of the file is named transparent
            colours = Image.fromarray(pixels[..., :3]).convert(mode)
            colours.save(path, transparency=(hidden,) * 3 if mode == "RGB" else hidden)
        elif mode == "P":
            colours = Image.fromarray(pixels[..., :3]).quantize(4)
            colours.save(path, transparency=colours.getpixel((0, 0)))
        elif mode == "PA":
            Image.fromarray(pixels).quantize(4).save(path)
        else:
            Image.fromarray(pixels).convert(mode).save(path)
        images.append(read_image(str(path), height=16, width=8))
    np.testing.assert_array_equal(*images)
    assert images[0][:, 0, 0].tolist() == [128] * 3
    assert read_image(str(tmp_path / "0.png"))[:, 4, 2].tolist() == [200] * 3


@pytest.mark.parametrize(
    ("mode", "name"), [("CMYK", "a.jpg"), ("CMYK", "a.tif"), ("YCbCr", "a.jpg"), ("P", "a.png"), ("P", "a.gif")]
)
def test_other_colour_spaces_become_rgb(mode: str, name: str, tmp_path: Path):
    colour = np.full((16, 16, 3), (204, 51, 51), np.uint8)
    Image.fromarray(colour).convert(mode).save(tmp_path / name)
    image = read_image(str(tmp_path / name))
    np.testing.assert_allclose(image.transpose(1, 2, 0).astype(float), colour, atol=6)


def test_two_tone_images_are_black_and_white(tmp_path: Path):
    Image.fromarray(np.eye(8, dtype=bool)).save(tmp_path / "a.png")
    assert (read_image(str(tmp_path / "a.png"))[1] == 255 * np.eye(8)).all()


def test_eight_bit_images_keep_their_values(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    for name, stored in (
        ("a.png", pixels),
        ("b.bmp", pixels),
        ("c.png", np.dstack([pixels, np.full((8, 4), 255, np.uint8)])),
    ):
        Image.fromarray(stored).save(tmp_path / name)
        np.testing.assert_array_equal(read_image(str(tmp_path / name)).transpose(1, 2, 0), pixels)


def test_what_is_not_an_image_or_far_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"folder.png cannot be read .*; replace it or leave it out; `ecul doctor"):
        read_image(str(tmp_path / "folder.png"))
    Image.new("L", (64, 64)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"large.png cannot be read \(Image size \(4096 pixels\) exceeds limit"):
        read_image(str(tmp_path / "large.png"))


def test_a_cut_jpeg_is_named(tmp_path: Path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:1500])
    with pytest.raises(DataError, match=r"a.jpg cannot be read \(image file is truncated"):
        read_image(str(tmp_path / "a.jpg"))


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
    second = BatchPlan(np.array([1, 2]), np.array([0, 3]))
    plans[1] = replace(plans[1], united=second)
    steps = list(load_batches(store, plans, rank=1, world_size=2, device=torch.device("cpu")))
    assert [len(step) for step in steps] == [1, 2]
    assert steps[1][1][0] is second
    assert (int(steps[1][1][1][0, 0, 0, 0]), int(steps[1][1][2][0, 0, 0, 0])) == (20, 30)
    batches = [step[0] for step in steps]
    assert [int(visible[0, 0, 0, 0]) for _, visible, _ in batches] == [10, 20]
    assert [int(infrared[0, 0, 0, 0]) for _, _, infrared in batches] == [30, 0]


def test_an_uneven_split_is_refused():
    assert list(range(8))[local_slice(8, rank=1, world_size=4)] == [1, 5]
    with pytest.raises(ValueError, match="6 images cannot be split over 4"):
        local_slice(6, rank=0, world_size=4)
