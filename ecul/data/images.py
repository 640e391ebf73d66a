"""Images as uint8 arrays: decoded once and kept where they fit, decoded when asked otherwise."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ecul.errors import DataError

log = logging.getLogger(__name__)
_GIB = 2**30


def read_image(path: str, *, height: int | None = None, width: int | None = None) -> UInt8[np.ndarray, "3 H W"]:
    """Returns the image as RGB; an infrared image has its channel repeated.

    Args:
        path: the file.
        height: in pixels; the image is resized bicubically. None for the image's own.
        width: the same.

    Raises:
        DataError: the file is missing or is no readable image; the text names it.
    """
    try:
        with Image.open(path) as image:
            converted = image.convert("RGB")
            size = (width or converted.width, height or converted.height)
            if converted.size != size:
                converted = converted.resize(size, Image.Resampling.BICUBIC)
            return np.asarray(converted).transpose(2, 0, 1)
    except FileNotFoundError:
        raise DataError(f"image {path} is missing; run `ecul doctor` on the dataset") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise DataError(f"image {path} cannot be read ({error}); replace it, then run `ecul doctor`") from None


class ImageStore:
    """Random access to resized images by position.

    Attributes:
        num_bytes: size of all images decoded.
        cached: whether they are all kept in memory.
    """

    def __init__(
        self, paths: Sequence[str], *, height: int, width: int, cache_bytes: int, num_threads: int = 2
    ) -> None:
        self._paths = list(paths)
        self._shape = (3, height, width)
        self._pool = ThreadPoolExecutor(max(num_threads, 1), thread_name_prefix="decode")
        self.num_bytes = len(self._paths) * int(np.prod(self._shape))
        self.cached = self.num_bytes <= cache_bytes
        self._array = self._decode(np.arange(len(self._paths))) if self.cached else None
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
        array = self._array[positions] if self._array is not None else self._decode(positions)
        return torch.from_numpy(array)

    def _decode(self, positions: NDArray[np.integer]) -> NDArray[np.uint8]:
        _, height, width = self._shape
        out = np.empty((len(positions), *self._shape), np.uint8)

        def fill(row: int) -> None:
            out[row] = read_image(self._paths[positions[row]], height=height, width=width)

        list(self._pool.map(fill, range(len(positions))))
        return out
