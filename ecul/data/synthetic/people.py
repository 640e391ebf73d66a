"""Synthetic people: what stays the same in all images of one identity.

Lengths are in units of the person's height; `v` runs from 0 (top of the head) to 1 (soles), `u` from the middle
of the body to the viewer's right. Brightness and reflectance are in [0, 1].
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecul.data.synthetic.counters import Stream
from ecul.data.synthetic.difficulty import SyntheticDifficulty

SKIN, HAIR, UPPER, UPPER_SECOND, LOWER, LOWER_SECOND, SHOES, HAT, BAG, NUM_MATERIALS = range(10)
PLAIN, HORIZONTAL, VERTICAL, DIAGONAL, CHECKS, BAND, BOX, DISC, HALF, OPEN, DOTS = range(11)
NO_BAG, BACKPACK, SHOULDER_BAG, HAND_BAG = range(4)
NO_HAT, CAP, BRIM, BEANIE = range(4)
SHORT_HAIR, BIG_HAIR, LONG_HAIR, BUN = range(4)
TROUSERS, SKIRT = range(2)

PERSON = np.dtype(
    [
        ("head_size", np.float32),  # of the usual head
        ("shoulder", np.float32),  # shoulder, waist and hip are half widths
        ("waist", np.float32),
        ("hip", np.float32),
        ("hip_v", np.float32),
        ("arm_spread", np.float32),  # usual angle of an arm, in radians
        ("stance", np.float32),  # usual angle of a leg, in radians
        ("hem_v", np.float32),  # where the upper garment ends
        ("hem_width", np.float32),
        ("sleeve", np.float32),  # sleeve length, as a share of the arm
        ("sleeve_width", np.float32),
        ("contrast_sleeve", np.int32),  # 1 where sleeves have the second tone
        ("upper_pattern", np.int32),
        ("upper_count", np.float32),  # repeats in a pattern unit
        ("upper_phase", np.float32),
        ("upper_duty", np.float32),
        ("upper_slope", np.float32),
        ("lower_kind", np.int32),
        ("lower_v", np.float32),  # where the lower garment ends
        ("thigh", np.float32),
        ("lower_width", np.float32),  # half width at the lower garment's end
        ("lower_pattern", np.int32),
        ("lower_count", np.float32),
        ("lower_phase", np.float32),
        ("lower_duty", np.float32),
        ("boot_v", np.float32),  # where shoes or boots begin
        ("bag", np.int32),
        ("bag_side", np.float32),  # -1 or 1, as hat_side
        ("bag_size", np.float32),
        ("hat", np.int32),
        ("hat_side", np.float32),
        ("hair", np.int32),
    ],
    align=True,
)

_LUMINANCE = np.array([0.299, 0.587, 0.114])
_SHAPE, _COLOUR, _REFLECTANCE = 11, 12, 13


def draw_people(
    seed: int, population: int, identities: NDArray[np.integer[Any]], difficulty: SyntheticDifficulty
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Returns the shape of each identity and the tones of what it wears.

    Args:
        seed: of the dataset.
        population: number of the population; the same identity number is another person in another population.
        identities: I identity numbers, not negative.
        difficulty: the knobs.

    Returns:
        Records `PERSON` (I,), and float32 (I, NUM_MATERIALS, 4) of red, green, blue and infrared reflectance.
    """
    people = _draw_shapes(Stream(seed, _SHAPE, np.asarray(population), identities), difficulty)
    visible_stream = Stream(seed, _COLOUR, np.asarray(population), identities)
    infrared_stream = Stream(seed, _REFLECTANCE, np.asarray(population), identities)
    is_light = np.stack([visible_stream.chance(0.5) for _ in range(NUM_MATERIALS)], axis=1)
    agrees = np.stack([infrared_stream.chance(difficulty.polarity_agreement) for _ in range(NUM_MATERIALS)], axis=1)
    visible = _draw_colours(visible_stream, is_light, difficulty)
    infrared = _draw_reflectance(infrared_stream, is_light == agrees, difficulty)
    return people, np.concatenate([visible, infrared[:, :, None]], axis=2).astype(np.float32)


def _draw_shapes(stream: Stream, difficulty: SyntheticDifficulty) -> NDArray[Any]:
    people = np.zeros(stream.shape, PERSON)
    _draw_body(people, stream)
    _draw_upper(people, stream, difficulty)
    _draw_lower(people, stream)
    _draw_extras(people, stream, difficulty)
    return people


def _draw_body(people: NDArray[Any], stream: Stream) -> None:
    build = stream.uniform(0.75, 1.35)
    people["head_size"] = stream.uniform(0.9, 1.15)
    people["shoulder"] = build * stream.uniform(0.115, 0.135)
    people["waist"] = build * stream.uniform(0.085, 0.12)
    people["hip"] = build * stream.uniform(0.095, 0.12)
    people["hip_v"] = stream.uniform(0.46, 0.54)
    people["arm_spread"] = stream.uniform(0.08, 0.3)
    people["stance"] = stream.uniform(0.02, 0.11)


def _draw_upper(people: NDArray[Any], stream: Stream, difficulty: SyntheticDifficulty) -> None:
    length = stream.choose((0.2, 0.45, 0.35))
    within = stream.uniform()
    low, span = np.array([-0.05, 0.0, 0.09])[length], np.array([0.03, 0.06, 0.2])[length]
    people["hem_v"] = people["hip_v"] + low + span * within
    people["hem_width"] = people["hip"] * stream.uniform(0.95, 1.45)
    sleeve = stream.choose((0.2, 0.3, 0.15, 0.35))
    within = stream.uniform()
    people["sleeve"] = np.array([0.0, 0.28, 0.58, 0.92])[sleeve] + np.array([0.05, 0.14, 0.1, 0.0])[sleeve] * within
    people["sleeve_width"] = stream.uniform(0.03, 0.05)
    people["contrast_sleeve"] = stream.chance(0.25)
    patterned = 1.0 - difficulty.plain_share
    weights = np.array([0.16, 0.14, 0.12, 0.12, 0.1, 0.08, 0.08, 0.08, 0.07, 0.05]) * patterned
    people["upper_pattern"] = stream.choose((difficulty.plain_share, *weights.tolist()))
    people["upper_count"] = stream.uniform(0.9, 2.6)
    people["upper_phase"] = stream.uniform()
    people["upper_duty"] = stream.uniform(0.35, 0.65)
    people["upper_slope"] = stream.uniform(0.6, 1.4) * np.where(stream.chance(0.5), 1.0, -1.0)


def _draw_lower(people: NDArray[Any], stream: Stream) -> None:
    kind = stream.choose((0.42, 0.13, 0.2, 0.15, 0.1))  # trousers, calf-long, shorts, skirt, long skirt
    within = stream.uniform()
    people["lower_v"] = (
        np.array([0.95, 0.8, 0.62, 0.62, 0.76])[kind] + np.array([0, 0.06, 0.1, 0.1, 0.14])[kind] * within
    )
    people["lower_kind"] = np.where(kind >= 3, SKIRT, TROUSERS)
    people["thigh"] = people["hip"] * stream.uniform(0.42, 0.56)
    flare = np.where(
        people["lower_kind"] == SKIRT, stream.uniform(1.0, 1.8) * people["hip"], stream.uniform(0.026, 0.07)
    )
    people["lower_width"] = flare
    people["lower_pattern"] = np.array([PLAIN, HORIZONTAL, VERTICAL, CHECKS, DOTS, BAND])[
        stream.choose((0.25, 0.18, 0.2, 0.14, 0.08, 0.15))
    ]
    people["lower_count"] = stream.uniform(0.9, 2.3)
    people["lower_phase"] = stream.uniform()
    people["lower_duty"] = stream.uniform(0.35, 0.65)
    people["boot_v"] = np.where(stream.chance(0.3), stream.uniform(0.8, 0.9), 0.955)


def _draw_extras(people: NDArray[Any], stream: Stream, difficulty: SyntheticDifficulty) -> None:
    bags, hats = difficulty.bag_share / 3, difficulty.hat_share / 3
    people["bag"] = stream.choose((1 - difficulty.bag_share, bags, bags, bags))
    people["bag_side"] = np.where(stream.chance(0.5), 1.0, -1.0)
    people["bag_size"] = stream.uniform(0.75, 1.35)
    people["hat"] = stream.choose((1 - difficulty.hat_share, hats, hats, hats))
    people["hat_side"] = np.where(stream.chance(0.5), 1.0, -1.0)
    people["hair"] = stream.choose((0.4, 0.15, 0.3, 0.15))


def _draw_colours(stream: Stream, is_light: NDArray[np.bool_], difficulty: SyntheticDifficulty) -> NDArray[np.float64]:
    """Red, green and blue (I, M, 3), any hue."""
    tones = _draw_tones(stream, is_light, difficulty, dark=0.22, light=0.72)
    colours = np.empty((*tones.shape, 3))
    for material in range(NUM_MATERIALS):
        hue, saturation = stream.uniform(), stream.uniform(0.0, difficulty.saturation)
        colours[:, material] = tint(tones[:, material], hue, saturation)
    colours[:, SKIN] = stream.uniform(0.4, 0.75)[:, None] * np.array([1.15, 0.92, 0.78])
    colours[:, HAIR] = stream.uniform(0.08, 0.3)[:, None] * np.array([1.2, 0.95, 0.7])
    return np.clip(colours, 0.0, 1.0)


def _draw_reflectance(
    stream: Stream, is_light: NDArray[np.bool_], difficulty: SyntheticDifficulty
) -> NDArray[np.float64]:
    """Near-infrared reflectance (I, M), drawn apart from colour: dyes that differ in colour may look alike here."""
    tones = _draw_tones(stream, is_light, difficulty, dark=0.38, light=0.85)
    tones[:, SKIN] = stream.uniform(0.62, 0.72)
    tones[:, HAIR] = stream.uniform(0.25, 0.4)
    return tones


def _draw_tones(
    stream: Stream, is_light: NDArray[np.bool_], difficulty: SyntheticDifficulty, *, dark: float, light: float
) -> NDArray[np.float64]:
    """Brightness (I, M): dark or light, with neighbouring materials on opposite sides as often as the knobs say."""
    is_light = is_light.copy()
    is_light[:, UPPER_SECOND] = ~is_light[:, UPPER]
    is_light[:, LOWER] = is_light[:, UPPER] ^ stream.chance(difficulty.contrast_share)
    is_light[:, LOWER_SECOND] = ~is_light[:, LOWER]
    is_light[:, BAG] = is_light[:, UPPER] ^ stream.chance(difficulty.contrast_share)
    is_light[:, SHOES] = is_light[:, LOWER] ^ stream.chance(difficulty.contrast_share)
    spread = difficulty.tone_spread
    jitter = np.stack([stream.uniform(-spread, spread) for _ in range(NUM_MATERIALS)], axis=1)
    return np.where(is_light, light, dark) + jitter


def tint(tone: NDArray[np.float64], hue: NDArray[np.float64], saturation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns colours (..., 3) of a brightness, a hue in [0, 1) and a saturation in [0, 1], clipped to [0, 1]."""
    angles = hue[..., None] + np.array([0.0, 1 / 3, 2 / 3])
    pure = np.clip(np.abs((angles % 1.0) * 6.0 - 3.0) - 1.0, 0.0, 1.0)
    brightness = (pure @ _LUMINANCE)[..., None]
    mixed = 1.0 - saturation[..., None] + saturation[..., None] * pure / brightness
    return np.clip(tone[..., None] * mixed, 0.0, 1.0)
