"""Images as uint8 arrays: decoded once and kept where they fit, decoded when asked otherwise."""

import logging
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ecul import runtime
from ecul.data.shared import shared_array
from ecul.errors import DataError
from ecul.progress import Progress

log = logging.getLogger(__name__)
_GIB = 2**30


GREY_TOLERANCE = 2.0
"""An image whose channels differ by less than this, on average over its pixels, shows no colour."""
_BACKGROUND = (128, 128, 128, 255)  # neither the black nor the white of a garment or a scene
_DEEP_RANGE = (0.1, 99.9)  # percentiles: a few dead or hot pixels of a thermal sensor do not set the range
_ORIENTATION = 0x0112
_BROKEN = (
    # what Pillow raises for files that are cut, damaged, of an unknown kind or far too large
    *(UnidentifiedImageError, Image.DecompressionBombError, OSError, EOFError, SyntaxError, struct.error, zlib.error),
    *(ValueError, TypeError, LookupError, ArithmeticError),
)
_ALL_OF_THEM = "`ecul doctor --open 0` finds all such files of a dataset"


def read_image(path: str, *, height: int | None = None, width: int | None = None) -> UInt8[np.ndarray, "3 H W"]:
    """Returns the image as RGB; every image of the program is opened here.

    - An EXIF orientation is applied.
    - Grey and palette images and those of other colour spaces are converted; grey has its channel repeated.
    - Transparent images are laid on mid grey (128), so that colours hidden by the alpha channel do not count.
    - Images of more than 8 bits with one channel (16-bit grey, 32-bit, floating point) are scaled linearly: the 0.1th
      percentile of the image's values becomes 0 and the 99.9th 255; its least and largest value where these two are
      equal. NaN counts as the least.
    - Of an image with several frames the first is taken.

    Args:
        path: the file.
        height: in pixels; the image is resized bicubically. None for the image's own.
        width: the same.

    Raises:
        DataError: the file is missing or is no readable image; the text names it.
    """
    try:
        with Image.open(path) as image:
            converted = _as_rgb(image)
            size = (width or converted.width, height or converted.height)
            if converted.size != size:
                converted = converted.resize(size, Image.Resampling.BICUBIC)
            return np.asarray(converted).transpose(2, 0, 1)
    except FileNotFoundError:
        raise DataError(f"image {path} is missing; {_ALL_OF_THEM}") from None
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"image {path} cannot be read ({reason}); replace it or leave it out; {_ALL_OF_THEM}") from None


def has_colour(pixels: UInt8[np.ndarray, "3 H W"]) -> bool:
    """Returns whether the channels of an image differ visibly."""
    return float(np.ptp(pixels.astype(np.float32), axis=0).mean()) >= GREY_TOLERANCE


def is_constant(pixels: UInt8[np.ndarray, "3 H W"]) -> bool:
    """Returns whether all pixels of an image are the same."""
    return not np.ptp(pixels, axis=(1, 2)).any()


def _as_rgb(image: Image.Image) -> Image.Image:
    upright = _upright(image)
    if upright.mode.startswith(("I", "F")):
        return Image.fromarray(_in_eight_bits(np.asarray(upright))).convert("RGB")
    if upright.has_transparency_data:
        colours = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, _BACKGROUND), colours).convert("RGB")
    return upright.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """The image as it was meant to be seen; one whose EXIF data are damaged stays as it is."""
    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
    except _BROKEN:
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _in_eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Pixels of a deep image, scaled as `read_image` says.

    Raises:
        ValueError: no value is finite.
    """
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        raise ValueError("none of its values is finite")
    low, high = np.percentile(finite, _DEEP_RANGE)
    if low == high:
        low, high = finite.min(), finite.max()
    clipped = np.clip(np.nan_to_num(numbers, nan=low, posinf=high, neginf=low), low, high)
    return np.rint((clipped - low) * (255 / ((high - low) or 1))).astype(np.uint8)


class ImageStore:
    """Random access to resized images by position.

    Attributes:
        num_bytes: size of all images decoded.
        cached: whether they are all kept in memory, once for all ranks on a machine.
    """

    def __init__(
        self, paths: Sequence[str], *, height: int, width: int, cache_bytes: int, num_threads: int = 2
    ) -> None:
        """Decodes all images if they fit into the cache; with several ranks, every rank calls this.

        Args:
            paths: the files.
            height: in pixels, of each image.
            width: the same.
            cache_bytes: of memory for decoded images.
            num_threads: that decode where images are not kept; at the start, at least as many as torch has.

        Raises:
            DataError: an image that is kept cannot be read; on every rank.
        """
        self._paths = list(paths)
        self._shape = (3, height, width)
        self._pool = ThreadPoolExecutor(max(num_threads, 1), thread_name_prefix="decode")
        self.num_bytes = len(self._paths) * int(np.prod(self._shape))
        self.cached = self.num_bytes <= cache_bytes
        self._array = self._decode_all(max(num_threads, torch.get_num_threads())) if self.cached else None
        log.debug(
            "%d images, %.2f GiB as uint8, %s",
            len(self._paths),
            self.num_bytes / _GIB,
            "kept in memory" if self.cached else "decoded at each use",
        )

    def __len__(self) -> int:
        return len(self._paths)

    def get(self, positions: NDArray[np.integer]) -> UInt8[Tensor, "B 3 H W"]:
        """Returns the images at these positions, as a new tensor on the CPU."""
        if self._array is not None:
            return torch.from_numpy(self._array[positions])
        out = np.empty((len(positions), *self._shape), np.uint8)
        list(self._pool.map(lambda row: self._read(self._paths[positions[row]], out[row]), range(len(positions))))
        return torch.from_numpy(out)

    def _decode_all(self, num_threads: int) -> NDArray[np.uint8]:
        """All images; each rank reads its part of those that its machine's ranks share."""
        shared = shared_array((len(self._paths), *self._shape))
        own = range(len(self._paths))[shared.part]

        def read(progress: Progress) -> None:
            def fill(position: int) -> None:
                self._read(self._paths[position], shared.array[position])
                progress.advance()

            with ThreadPoolExecutor(num_threads, thread_name_prefix="decode") as pool:
                list(pool.map(fill, own))

        with Progress("reading images", total=len(own), shown=runtime.is_main()) as progress:
            runtime.together(lambda: read(progress))
        return shared.array

    def _read(self, path: str, out: NDArray[np.uint8]) -> None:
        _, height, width = self._shape
        out[...] = read_image(path, height=height, width=width)
