import numpy as np
import pytest
from PIL import Image

from ecul.plots.gallery import QUERY, RIGHT, WRONG, plot_gallery


def frames(path, num_queries, num_top, tile_width, tile_height):
    """Frame colours by cell, read off the left edge of every tile."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    step = tile_height + 10 + 6
    top = pixels.shape[0] - num_queries * step
    lefts = [6] + [6 + tile_width + 10 + 28 + rank * (tile_width + 10 + 6) for rank in range(num_top)]
    middles = [top + row * step + step // 2 for row in range(num_queries)]
    return [[tuple(pixels[y, x + 2].tolist()) for x in lefts] for y in middles]


@pytest.mark.parametrize("title", ["", "infrared queries"])
def test_right_is_framed_green_and_wrong_red(title, tmp_path):
    grey = np.full((2, 3, 3, 64, 32), 128, np.uint8)
    correct = np.array([[True, False, False], [False, True, True]])
    plot_gallery(grey[:, 0], grey, correct, tmp_path / "gallery.png", title=title)
    got = frames(tmp_path / "gallery.png", 2, 3, 96, 192)
    assert got == [[QUERY, RIGHT, WRONG, WRONG], [QUERY, WRONG, RIGHT, RIGHT]]
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.png"]


def test_large_images_keep_their_pixels(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1, 10, 3, 256, 128), dtype=np.uint8)
    plot_gallery(images[:, 3], images, np.ones((1, 10), bool), tmp_path / "gallery.png")
    with Image.open(tmp_path / "gallery.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels[-6 - 5 - 256 : -6 - 5, 11 : 11 + 128] == images[0, 3].transpose(1, 2, 0)).all()


def test_an_empty_gallery_is_refused(tmp_path):
    nothing = np.zeros((0, 3, 64, 32), np.uint8)
    with pytest.raises(ValueError, match="got 0 queries"):
        plot_gallery(nothing, np.zeros((0, 10, 3, 64, 32), np.uint8), np.zeros((0, 10), bool), tmp_path / "g.png")
