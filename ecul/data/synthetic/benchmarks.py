"""Named sets of synthetic people on which methods are compared; docs/benchmark.md has their calibration."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ecul.data.synthetic.difficulty import SyntheticDifficulty
from ecul.names import Benchmark

_MILD = SyntheticDifficulty(
    pose_jitter=0.02,
    lean_jitter=0.01,
    narrowing=0.02,
    mirror_share=0.0,
    exposure_jitter=0.04,
    occlusion_share=0.0,
    pixel_noise=0.01,
    gain_range=0.1,
    tint_range=0.08,
    blur=0.1,
    background_contrast=0.15,
)


@dataclass(frozen=True)
class PeopleSet:
    """A benchmark: SYSU-MM01's layout and imbalance, these people, and these knobs.

    Attributes:
        difficulty: the knobs of the drawing.
        num_identities: people to train on; a fifth of them are the validation people.
        num_test_identities: further people, to test on.
        images_per_camera: mean number of images of a person under a camera that sees it.
    """

    difficulty: SyntheticDifficulty
    num_identities: int = 250
    num_test_identities: int = 100
    images_per_camera: int = 4


BENCHMARKS: Mapping[Benchmark, PeopleSet] = {
    "people-easy": PeopleSet(replace(_MILD, polarity_agreement=0.85)),
    "people": PeopleSet(replace(_MILD, polarity_agreement=0.6)),
    "people-hard": PeopleSet(SyntheticDifficulty()),
}
"""Easy: dark and light mostly agree between the modalities. Hard: the knobs of the demo, with its nuisances."""
