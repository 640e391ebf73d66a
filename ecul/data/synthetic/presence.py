"""Who is seen by which camera, and how often."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecul.data.synthetic.counters import Stream
from ecul.data.synthetic.drawing import Shots

_COUNT_KIND, _PATTERN_KIND, _UNPAIRED_KIND = 41, 43, 44
SYSU_CAMERAS = (1, 2, 3, 4, 5, 6)
SYSU_MODALITY = (0, 0, 1, 0, 0, 1)
"""Value of `Modality` of each camera of SYSU-MM01."""
SYSU_TRAINING = (
    (2, (0, 0, 60, 0, 20, 0)),
    (5, (0, 0, 100, 50, 0, 0)),
    (188, (0, 0, 3781, 1920, 1915, 0)),
    (5, (0, 0, 107, 110, 106, 100)),
    (1, (0, 55, 20, 20, 20, 20)),
    (3, (89, 113, 0, 69, 60, 60)),
    (11, (289, 338, 220, 0, 220, 220)),
    (180, (4343, 5247, 3621, 3642, 3632, 3600)),
)
"""The 395 training identities of SYSU-MM01: how many are seen by the same cameras, and their images in each of six."""


@dataclass(frozen=True)
class Presence:
    """Images of each identity under each camera: `counts` (I, C) for identities (I,), cameras (C,), of one modality."""

    counts: NDArray[np.int64]
    identities: NDArray[np.int64]
    cameras: tuple[int, ...]
    infrared: bool

    def shots(self) -> Shots:
        """Every image, by identity, camera and number from 0."""
        flat = self.counts.reshape(-1)
        start = np.repeat(np.cumsum(flat) - flat, flat)
        identity = np.repeat(self.identities, self.counts.sum(axis=1))
        camera = np.repeat(np.tile(np.array(self.cameras, np.int64), len(self.identities)), flat)
        number = np.arange(flat.sum()) - start
        return Shots(
            identity=identity.astype(np.int32),
            camera=camera.astype(np.int32),
            number=number.astype(np.int32),
            infrared=self.infrared,
        )


def draw_presence(
    seed: int,
    identities: NDArray[np.int64],
    cameras: tuple[int, ...],
    mean: int,
    *,
    infrared: bool,
    share: float,
) -> Presence:
    """Sees a person under each camera with a probability, and under one camera at least."""
    stream = Stream(seed, _COUNT_KIND + 10 * infrared, identities[:, None], np.array(cameras)[None])
    seen = stream.chance(share)
    sure = stream.uniform().argmax(axis=1)
    seen[np.arange(len(identities)), sure] = True
    counts = np.round(mean * stream.uniform(0.5, 1.5)).astype(np.int64).clip(1)
    return Presence(counts=np.where(seen, counts, 0), identities=identities, cameras=cameras, infrared=infrared)


def imbalanced_presences(seed: int, identities: NDArray[np.int64], mean: int) -> tuple[Presence, Presence]:
    """Returns the visible and the infrared images of people as uneven as SYSU-MM01's training set.

    As there, about half of the people are seen by cameras 3, 4 and 5 only, most others by all six, and the image counts
    of a camera keep their proportions.

    Args:
        seed: decides who is seen where, and how often.
        identities: I identity numbers.
        mean: images of a person under a camera that sees it, over all people and cameras.
    """
    people = np.array([number for number, _ in SYSU_TRAINING])
    images = np.array([cameras for _, cameras in SYSU_TRAINING], np.float64)
    expected = images / people[:, None] * (mean * (people[:, None] * (images > 0)).sum() / images.sum())
    pattern = Stream(seed, _PATTERN_KIND, identities).choose(tuple((people / people.sum()).tolist()))
    cameras = np.array(SYSU_CAMERAS)
    jitter = Stream(seed, _COUNT_KIND, identities[:, None], cameras[None]).uniform(0.5, 1.5)
    counts = np.round(expected[pattern] * jitter).astype(np.int64)
    counts = np.where(expected[pattern] > 0, counts.clip(1), 0)
    visible, infrared = (
        Presence(
            counts=counts[:, np.array(SYSU_MODALITY) == modality],
            identities=identities,
            cameras=tuple(cameras[np.array(SYSU_MODALITY) == modality].tolist()),
            infrared=bool(modality),
        )
        for modality in (0, 1)
    )
    return visible, infrared


def without_a_modality(
    seed: int, presences: tuple[Presence, Presence], *, num_people: int, share: float
) -> tuple[Presence, Presence]:
    """Takes one modality from a share of the first people, in turn the infrared and the visible images.

    Args:
        seed: decides who.
        presences: of the visible and the infrared images.
        num_people: people who may lose a modality, the first in the list.
        share: of them, in [0, 1], rounded to whole people.
    """
    chosen = Stream(seed, _UNPAIRED_KIND, presences[0].identities[:num_people]).uniform().argsort()
    chosen = chosen[: round(share * num_people)]
    visible, infrared = (presence.counts.copy() for presence in presences)
    infrared[chosen[::2]] = 0
    visible[chosen[1::2]] = 0
    return replace(presences[0], counts=visible), replace(presences[1], counts=infrared)
