"""Writes synthetic datasets, and makes the image set that the small network is pretrained on."""

import dataclasses
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecul.data.dataset import SYNTHETIC_MARKER
from ecul.data.synthetic.benchmarks import BENCHMARKS
from ecul.data.synthetic.difficulty import SyntheticDifficulty
from ecul.data.synthetic.drawing import Shots, draw_shots
from ecul.data.synthetic.plan import DRAWN_LAYOUTS, Plan, PlanRequest, make_plan, plan_from_counts
from ecul.errors import DataError
from ecul.names import Benchmark
from ecul.progress import track
from ecul.types import IntArray

_DATASET, _PRETRAINING = 0, 1
_CHUNK = 256
_MIN_SIDE, _MAX_SIDE = 16, 1024
_JPEG_QUALITY = 95


def synthesize(
    out: str | Path,
    *,
    layout: str,
    num_identities: int | None,
    height: int,
    width: int,
    seed: int,
    num_test_identities: int | None = None,
    images_per_camera: int | None = None,
    counts: str | Path | None = None,
    benchmark: Benchmark | None = None,
    unpaired_share: float = 0.0,
    difficulty: SyntheticDifficulty | None = None,
    num_workers: int | None = None,
) -> int:
    """Writes a dataset in the folders and split files of a real one, and returns the number of images.

    The same arguments give the same bytes, whatever the number of workers.

    Args:
        out: folder to make; it must be empty or absent.
        layout: `sysu`, `regdb` or `llcm`.
        num_identities: people to train on; None with `counts`, and for a benchmark's own.
        height: of the images, in pixels; people look right at width = height / 2.
        width: of the images, in pixels.
        seed: decides everything.
        num_test_identities: further people, to test on; None is half of `num_identities`, or a benchmark's own.
        images_per_camera: mean number of images of a person under one camera; None is the layout's or benchmark's own.
        counts: npz with the real SYSU-MM01's image counts (see `plan_from_counts`), for `sysu` only.
        benchmark: a named set, for `sysu` only: its numbers of people and images where they are None, its difficulty,
            and people, cameras and modalities as uneven as in the real SYSU-MM01.
        unpaired_share: share of the training people who are seen in one modality only, in [0, 1]; `sysu` only.
        difficulty: the knobs; None is the benchmark's, or the calibrated default.
        num_workers: threads; None is one for each processor.

    Raises:
        DataError: an argument cannot be used, or the folder is not empty or cannot be written.
    """
    _check(layout, height=height, width=width, counts=counts)
    people = BENCHMARKS[benchmark] if benchmark is not None else None
    if people is not None and counts is None:
        num_identities = people.num_identities if num_identities is None else num_identities
        num_test_identities = people.num_test_identities if num_test_identities is None else num_test_identities
        images_per_camera = people.images_per_camera if images_per_camera is None else images_per_camera
    if counts is None and num_identities is None:
        raise DataError(
            "how many people? give --identities N, --counts NPZ or --benchmark NAME (see ecul synth --help)"
        )
    if counts is not None and num_identities is not None:
        raise DataError("a file of counts says how many people there are; leave out --identities or --counts")
    if counts is not None:
        plan = _counted_plan(counts, benchmark, unpaired_share)
    else:
        request = _request(num_identities or 0, num_test_identities, images_per_camera, seed=seed)
        plan = make_plan(
            layout, dataclasses.replace(request, imbalanced=people is not None, unpaired_share=unpaired_share)
        )
    difficulty = difficulty or (SyntheticDifficulty() if people is None else people.difficulty)
    root = Path(out)
    about = {"format": 1, "layout": layout, "seed": seed, "height": height, "width": width}
    about |= {"benchmark": benchmark} if benchmark is not None else {}
    about |= {"unpaired_share": unpaired_share} if unpaired_share else {}
    about |= {"counts": plan.counts, "difficulty": dataclasses.asdict(difficulty)}
    try:
        _make_empty(root)
        _write_images(root, plan, (height, width, seed), difficulty, num_workers or os.cpu_count() or 1)
        _write_files(root, {**plan.files, SYNTHETIC_MARKER: json.dumps(about, indent=1) + "\n"})
    except OSError as error:
        raise DataError(f"cannot write the dataset to {root} ({error}); free some room or give another --out") from None
    return len(plan)


def pretraining_images(
    *,
    num_identities: int,
    num_cameras: int = 24,
    images_per_camera: int = 1,
    height: int,
    width: int,
    seed: int,
    difficulty: SyntheticDifficulty | None = None,
) -> tuple[NDArray[np.uint8], IntArray]:
    """Returns visible images of people and cameras that no synthetic dataset has.

    Args:
        num_identities: I people.
        num_cameras: C cameras; each sees everybody.
        images_per_camera: K images of a person under one camera.
        height: of an image, in pixels.
        width: of an image, in pixels.
        seed: decides everything.
        difficulty: the knobs; None is the calibrated default.

    Returns:
        uint8 (I*C*K, 3, height, width) and identity int32 (I*C*K,) from 0, ordered by identity and camera.
    """
    shape = (num_identities, num_cameras, images_per_camera)
    identity, camera, number = (axis.reshape(-1).astype(np.int32) for axis in np.indices(shape))
    shots = Shots(identity=identity, camera=camera, number=number, infrared=False)
    out = np.empty((len(shots), 3, height, width), np.uint8)

    def draw(start: int) -> None:
        images = draw_shots(
            shots[start : start + _CHUNK],
            seed=seed,
            population=_PRETRAINING,
            height=height,
            width=width,
            difficulty=difficulty or SyntheticDifficulty(),
        )
        out[start : start + _CHUNK] = images.transpose(0, 3, 1, 2)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, len(shots), _CHUNK)
        list(track(pool.map(draw, starts), f"drawing people, {_CHUNK} images at once", total=len(starts)))
    return out, identity


def _check(layout: str, *, height: int, width: int, counts: str | Path | None) -> None:
    if layout not in DRAWN_LAYOUTS:
        raise DataError(f"no synthetic plan for layout {layout!r}; choose one of {', '.join(DRAWN_LAYOUTS)}")
    if not (_MIN_SIDE <= height <= _MAX_SIDE and _MIN_SIDE <= width <= _MAX_SIDE):
        raise DataError(f"image size {height}x{width}: both sides must be {_MIN_SIDE} to {_MAX_SIDE} pixels")
    if counts is not None and layout != "sysu":
        raise DataError(f"counts are of the sysu layout, got {layout}")


def _counted_plan(counts: str | Path, benchmark: str | None, unpaired_share: float) -> Plan:
    if benchmark is not None or unpaired_share:
        raise DataError("a file of counts says who is seen where; leave out the benchmark and the unpaired share")
    return plan_from_counts(Path(counts))


def _request(num_train: int, num_test: int | None, images_per_camera: int | None, *, seed: int) -> PlanRequest:
    if num_test is None:
        num_test = max(1, num_train // 2)
    if num_train < 2 or num_test < 1 or (images_per_camera is not None and images_per_camera < 1):
        raise DataError(
            f"got {num_train} training identities, {num_test} test identities and {images_per_camera} images "
            "a camera; expected at least 2, 1 and 1"
        )
    return PlanRequest(
        num_identities=num_train,
        num_test_identities=num_test,
        images_per_camera=images_per_camera,
        seed=seed,
    )


def _make_empty(root: Path) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} is not an empty folder; give a new one, or remove it first")
    root.mkdir(parents=True, exist_ok=True)


def _write_images(
    root: Path, plan: Plan, size_and_seed: tuple[int, int, int], difficulty: SyntheticDifficulty, num_workers: int
) -> None:
    height, width, seed = size_and_seed
    for folder in sorted({os.path.dirname(path) for _, paths in plan.parts for path in paths} | {*plan.folders}):
        os.makedirs(root / folder, exist_ok=True)

    def write(chunk: tuple[Shots, list[str]]) -> None:
        shots, paths = chunk
        images = draw_shots(shots, seed=seed, population=_DATASET, height=height, width=width, difficulty=difficulty)
        for pixels, path in zip(images, paths, strict=True):
            image = Image.fromarray(pixels[:, :, 0] if shots.infrared else pixels)
            if path.endswith(".jpg"):
                image.save(f"{root}{os.sep}{path}", quality=_JPEG_QUALITY, subsampling=0)
            else:
                image.save(f"{root}{os.sep}{path}")

    chunks = [
        (shots[start : start + _CHUNK], paths[start : start + _CHUNK])
        for shots, paths in plan.parts
        for start in range(0, len(shots), _CHUNK)
    ]
    with ThreadPoolExecutor(num_workers) as pool:
        list(track(pool.map(write, chunks), f"drawing people, {_CHUNK} images at once", total=len(chunks)))


def _write_files(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
