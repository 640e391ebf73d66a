"""Embeddings of image files of any origin: without identities, cameras or the folders of a dataset."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ecul.data.images import has_colour, read_image
from ecul.data.layouts.listing import IMAGE_SUFFIXES
from ecul.engine.checkpoints import network_of, open_run
from ecul.engine.embedding import embed_pixels
from ecul.errors import CheckpointError, DataError
from ecul.models.backbone import DualStream
from ecul.models.inference import for_inference
from ecul.models.weights import model_from_file
from ecul.progress import Progress
from ecul.types import FloatArray, IntArray, Modality

_AT_ONCE = 512
_WEIGHTS = "a run directory, a checkpoint (state.pt) or a .safetensors file of `ecul export`"
_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir")


@dataclass(frozen=True)
class Collection:
    """Images that could be read, embedded.

    Attributes:
        paths: N image files.
        modality: int32 (N,), given or guessed.
        features: float32 (N, D), unit rows.
        unreadable: one line for each file that could not be read.
    """

    paths: tuple[str, ...]
    modality: IntArray
    features: FloatArray
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class Embedder:
    """A network and the size of the images that it takes.

    Attributes:
        network: in evaluation mode, on `device`.
        height: pixels.
        width: pixels.
        device: where it is.
    """

    network: DualStream
    height: int
    width: int
    device: torch.device

    def embed(self, paths: Sequence[str], modality: Modality | None, *, label: str = "embedding images") -> Collection:
        """Returns the embeddings of image files; those that cannot be read are left out and named.

        Args:
            paths: the files.
            modality: of all of them; None guesses it for each: images without colour are infrared.
            label: what the progress is called.
        """
        parts: list[tuple[list[int], NDArray[np.int32], FloatArray]] = []
        unreadable: list[str] = []
        with Progress(label, total=len(paths)) as progress, ThreadPoolExecutor() as pool:
            for start in range(0, len(paths), _AT_ONCE):
                chunk = list(pool.map(self._read, paths[start : start + _AT_ONCE]))
                unreadable += [image for image in chunk if isinstance(image, str)]
                found = [number for number, image in enumerate(chunk) if not isinstance(image, str)]
                if found:
                    pixels = np.stack([chunk[number] for number in found])
                    kinds = self._kinds(pixels, modality)
                    parts.append(([start + number for number in found], kinds, self._features(pixels, kinds)))
                progress.advance(len(chunk))
        dim = self.network.embedding_dim
        return Collection(
            paths=tuple(paths[position] for positions, _, _ in parts for position in positions),
            modality=np.concatenate([np.empty(0, np.int32), *(kinds for _, kinds, _ in parts)]),
            features=np.concatenate([np.empty((0, dim), np.float32), *(rows for _, _, rows in parts)]),
            unreadable=tuple(unreadable),
        )

    def _read(self, path: str) -> NDArray[np.uint8] | str:
        try:
            return read_image(path, height=self.height, width=self.width)
        except DataError as error:
            return str(error)

    def _kinds(self, pixels: NDArray[np.uint8], modality: Modality | None) -> NDArray[np.int32]:
        if modality is not None:
            return np.full(len(pixels), modality, np.int32)
        return np.array([Modality.VISIBLE if has_colour(image) else Modality.INFRARED for image in pixels], np.int32)

    def _features(self, pixels: NDArray[np.uint8], kinds: NDArray[np.int32]) -> FloatArray:
        images = torch.from_numpy(pixels)
        rows = embed_pixels(
            self.network, lambda wanted: images[wanted], kinds, np.arange(len(pixels)), device=self.device
        )
        return rows.cpu().numpy()


def open_embedder(source: str | Path, device: torch.device) -> Embedder:
    """Returns the network of exported weights (`ecul export`), or of a run directory or checkpoint.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    path = Path(source)
    if path.suffix == ".onnx":
        raise CheckpointError(f"{path}: ONNX files are for other programs; give {_WEIGHTS}")
    if not path.exists():
        raise CheckpointError(f"no weights file or run directory {path}; give {_WEIGHTS}")
    if path.is_dir() or path.suffix == ".pt":
        config, checkpoint = open_run(path)
        model, height, width = network_of(config, checkpoint), config.data.height, config.data.width
    else:
        model, description = model_from_file(path)
        height, width = description["height"], description["width"]
    return Embedder(for_inference(model).to(device), height, width, device)


def find_images(places: Iterable[str | Path], *, option: str = "") -> list[str]:
    """Returns image files: those given, and all in the folders given and below them, each folder in the order of names.

    Hidden files and folders that systems leave behind are passed over.

    Args:
        places: files and folders.
        option: where the user gave them, for the errors.

    Raises:
        DataError: a place does not exist, or a folder holds no image.
    """
    found: dict[str, None] = {}
    given = f"{option}: " if option else ""
    for place in places:
        path = Path(place)
        inside = _images_below(path) if path.is_dir() else [str(path)]
        if not path.exists():
            raise DataError(f"{given}no image or folder {path}; check the path")
        if not inside:
            raise DataError(f"{given}{path} holds no image ({', '.join(IMAGE_SUFFIXES)}); give another folder")
        found |= dict.fromkeys(inside)
    return list(found)


def _images_below(folder: Path) -> list[str]:
    images: list[str] = []
    seen: set[str] = set()  # a link that leads back to a folder above would never end
    for here, folders, files in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(here))
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith((".", *_SYSTEM_FOLDERS)) and os.path.realpath(os.path.join(here, name)) not in seen
        )
        images += [
            os.path.join(here, name)
            for name in sorted(files)
            if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)
        ]
    return images


def rank(queries: Collection, gallery: Collection, *, top: int) -> list[list[tuple[int, float]]]:
    """Returns for each query its most similar gallery images: (position, cosine similarity).

    The query's own file is left out. Equally similar images follow the gallery's order.
    """
    own = {os.path.realpath(path): position for position, path in enumerate(gallery.paths)}
    lists: list[list[tuple[int, float]]] = []
    rows = gallery.features.astype(np.float64)
    for path, feature in zip(queries.paths, queries.features.astype(np.float64), strict=True):
        similarity = rows @ feature
        if (position := own.get(os.path.realpath(path))) is not None:
            similarity[position] = -np.inf
        order = np.argsort(-similarity, kind="stable")[:top]
        lists.append([(int(place), float(similarity[place])) for place in order if np.isfinite(similarity[place])])
    return lists
