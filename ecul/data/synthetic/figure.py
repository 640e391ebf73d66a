"""What is at a point of a synthetic person: compiled point tests, front to back. Units as in `people`.

Each function returns (material, shade): a material of `people`, or NOTHING where the part does not cover the
point, and a brightness factor that is lower towards the sides of a round part.
"""

from typing import Any

import numba
import numpy as np

from ecul.data.synthetic import people
from ecul.data.synthetic.people import BAG, HAIR, HAT, LOWER, LOWER_SECOND, SHOES, SKIN, UPPER, UPPER_SECOND
from ecul.data.synthetic.poses import SHOULDER_V

NOTHING = -1
_HEAD_V, _HEAD_WIDTH, _HEAD_HEIGHT = 0.08, 0.052, 0.066
_PATTERN_UNIT = 0.2

_compiled = numba.njit(cache=True, nogil=True)
Hit = tuple[int, float]


@_compiled
def fraction(value: float) -> float:
    """The part after the point, in [0, 1)."""
    return value - np.floor(value)


@_compiled
def half_extent(person: Any, pose: Any) -> float:
    """Half of the width that can be covered by a person in a pose, carried things included."""
    hands = max(-pose.hand_u[0], pose.hand_u[1])
    feet = max(-pose.foot_u[0], pose.foot_u[1])
    widest = max(max(hands, feet), max(person.hem_width, person.shoulder + 0.01))
    if person.lower_kind == people.SKIRT:
        widest = max(widest, person.lower_width)
    return max(widest + 0.09, 0.15)


@_compiled
def figure_at(u: float, v: float, person: Any, pose: Any) -> Hit:
    """Returns the material and shade of the foremost part at a point of a person in a pose."""
    hit = NOTHING, 1.0
    if person.bag != people.NO_BAG:
        hit = _carried(u, v, person, pose)
    if hit[0] == NOTHING and v < 0.19:
        hit = _head(u, v, person)
    if hit[0] == NOTHING and 0.12 < v < 0.61:
        hit = _arms(u, v, person, pose)
    if hit[0] == NOTHING and 0.15 < v < person.hem_v:
        hit = _torso(u, v, person)
    if hit[0] == NOTHING and v > person.hip_v - 0.06:
        hit = _legs(u, v, person, pose)
    if hit[0] == NOTHING and v < 0.5:
        hit = _behind(u, v, person)
    return hit


@_compiled
def _along(u: float, v: float, u0: float, v0: float, u1: float, v1: float) -> tuple[float, float]:
    """Place along a segment in [0, 1] and signed distance from it."""
    du, dv = u1 - u0, v1 - v0
    place = ((u - u0) * du + (v - v0) * dv) / (du * du + dv * dv)
    place = min(max(place, 0.0), 1.0)
    off_u, off_v = u - u0 - place * du, v - v0 - place * dv
    distance = np.sqrt(off_u * off_u + off_v * off_v)
    return place, distance if off_u >= 0.0 else -distance


@_compiled
def _round(across: float) -> float:
    """Shade of a round part at a place across it, from -1 to 1."""
    return 1.0 - 0.4 * across * across * across * across


@_compiled
def _in_pattern(pattern: int, across: float, down: float, spec: tuple[float, float, float, float]) -> bool:
    """Whether a point has a garment's second tone.

    Args:
        pattern: kind.
        across: from -1 to 1 over the garment.
        down: from the garment's top, in pattern units.
        spec: repeats in a pattern unit, phase and duty in [0, 1], slope.
    """
    count, phase, duty, slope = spec
    if pattern == people.PLAIN:
        return False
    if pattern == people.DIAGONAL:
        return fraction(down * count * 0.8 + across * slope * count * 0.5 + phase) < duty
    row, column = fraction(down * count + phase), fraction(across * count * 0.65 + phase)
    if pattern == people.HORIZONTAL:
        return row < duty
    if pattern == people.VERTICAL:
        return column < duty
    if pattern == people.CHECKS:
        return (row < duty) != (column < duty)
    if pattern == people.DOTS:
        row, column = row - 0.5, column - 0.5
        return row * row + column * column < 0.3 * duty
    return _in_single_mark(pattern, across, down, spec)


@_compiled
def _in_single_mark(pattern: int, across: float, down: float, spec: tuple[float, float, float, float]) -> bool:
    """Whether a point is in a garment's one mark (band, box, disc, half or open front)."""
    _, phase, duty, slope = spec
    middle = 0.35 + 0.8 * phase
    if pattern == people.BAND:
        return abs(down - middle) < 0.5 * duty
    if pattern == people.OPEN:
        return abs(across) < 0.7 * duty
    if pattern == people.HALF:
        return across * slope > 0.6 * (phase - 0.5) if duty < 0.5 else down > 0.5 + 0.6 * phase
    side = 0.3 if slope > 1.0 else (-0.3 if slope < -1.0 else 0.0)
    if pattern == people.BOX:
        return abs(across - side) < 0.75 * duty and abs(down - middle) < 0.8 * duty
    across, down = (across - side) / 0.8, (down - middle) / 0.75
    return across * across + down * down < duty * duty


@_compiled
def _carried(u: float, v: float, person: Any, pose: Any) -> Hit:
    """A bag in the hand, or one at the hip with its strap across the chest."""
    side = person.bag_side
    if person.bag == people.HAND_BAG:
        hand = 0 if side < 0.0 else 1
        across = (u - pose.hand_u[hand]) / (0.062 * person.bag_size)
        down = (v - pose.hand_v[hand] - 0.06 * person.bag_size) / (0.065 * person.bag_size)
        if abs(across) < 1.0 and abs(down) < 1.0:
            return BAG, _round(across)
    if person.bag == people.SHOULDER_BAG:
        bag_u, bag_v = side * (person.hip + 0.03), person.hip_v + 0.03
        across, down = (u - bag_u) / (0.065 * person.bag_size), (v - bag_v) / (0.055 * person.bag_size)
        if abs(across) < 1.0 and abs(down) < 1.0:
            return BAG, _round(across)
        if abs(_along(u, v, -0.6 * side * person.shoulder, 0.16, bag_u, bag_v)[1]) < 0.014:
            return BAG, 1.0
    if person.bag == people.BACKPACK and 0.15 < v < 0.36 and abs(abs(u) - 0.55 * person.shoulder) < 0.017:
        return BAG, 1.0
    return NOTHING, 1.0


@_compiled
def _head(u: float, v: float, person: Any) -> Hit:
    """Hat, hair, face and neck."""
    across = u / (_HEAD_WIDTH * person.head_size)
    down = (v - _HEAD_V) / (_HEAD_HEIGHT * person.head_size)
    radius = across * across + down * down
    if person.hat != people.NO_HAT:
        if radius < 1.2 and down < -0.25:
            return HAT, _round(across * 0.9)
        if person.hat == people.CAP and -0.45 < down < -0.15 and 0.0 < across * person.hat_side < 2.0:
            return HAT, 0.9
        if person.hat == people.BRIM and -0.5 < down < -0.2 and abs(across) < 2.1:
            return HAT, 0.95
        if person.hat == people.BEANIE and across * across + (down + 1.15) * (down + 1.15) < 0.16:
            return HAT, 1.0
    elif person.hair == people.BUN and across * across + (down + 1.15) * (down + 1.15) < 0.2:
        return HAIR, 1.0
    if person.hair == people.BIG_HAIR and radius < 2.1 and (down < -0.1 or abs(across) > 0.8):
        return HAIR, _round(across * 0.7)
    if radius < 1.0:
        hairline = -0.1 if person.hair != people.SHORT_HAIR else -0.45
        if down < hairline or (person.hair == people.LONG_HAIR and abs(across) > 0.6):
            return HAIR, _round(across)
        return SKIN, _round(across)
    if abs(across) < 0.55 and v > _HEAD_V and v < 0.17:
        return SKIN, 0.85
    return NOTHING, 1.0


@_compiled
def _arms(u: float, v: float, person: Any, pose: Any) -> Hit:
    """Both arms; sleeves end where the person's sleeve length says, hands are bare."""
    for limb in range(2):
        shoulder_u = (2.0 * limb - 1.0) * (person.shoulder - 0.02)
        place, distance = _along(u, v, shoulder_u, SHOULDER_V, pose.hand_u[limb], pose.hand_v[limb])
        if place < person.sleeve:
            width = person.sleeve_width
            if abs(distance) < width:
                rings = person.upper_pattern == people.HORIZONTAL or person.upper_pattern == people.CHECKS
                ring = rings and fraction(place * 1.8 * person.upper_count + person.upper_phase) < person.upper_duty
                second = ring != (person.contrast_sleeve == 1)
                return UPPER_SECOND if second else UPPER, _round(distance / width)
        elif abs(distance) < 0.024:
            return SKIN, _round(distance / 0.024)
    return NOTHING, 1.0


@_compiled
def _torso_half_width(v: float, person: Any) -> float:
    waist_v = 0.37
    if v < 0.2:
        return person.shoulder * min(1.0, 0.4 + 0.6 * (v - 0.145) / 0.045)
    if v < waist_v:
        return person.shoulder + (person.waist - person.shoulder) * (v - 0.2) / (waist_v - 0.2)
    share = (v - waist_v) / max(person.hem_v - waist_v, 0.05)
    return person.waist + (person.hem_width - person.waist) * min(share, 1.0)


@_compiled
def _torso(u: float, v: float, person: Any) -> Hit:
    """The upper garment, with its pattern, from the neck to its hem."""
    across = u / _torso_half_width(v, person)
    if abs(across) > 1.0:
        return NOTHING, 1.0
    spec = (person.upper_count, person.upper_phase, person.upper_duty, person.upper_slope)
    second = _in_pattern(person.upper_pattern, across, (v - 0.15) / _PATTERN_UNIT, spec)
    return UPPER_SECOND if second else UPPER, _round(across)


@_compiled
def _legs(u: float, v: float, person: Any, pose: Any) -> Hit:
    """Skirt or trousers, bare legs below them, shoes or boots."""
    top = person.hip_v - 0.06
    spec = (person.lower_count, person.lower_phase, person.lower_duty, 1.0)
    down = (v - top) / _PATTERN_UNIT
    skirt = person.lower_kind == people.SKIRT
    if v < (person.lower_v if skirt else person.hip_v + 0.03):
        share = (v - top) / (person.lower_v - top) if skirt else 0.0
        width = person.hip + share * (person.lower_width - person.hip)
        if abs(u) < width:
            second = _in_pattern(person.lower_pattern, u / width, down, spec)
            return LOWER_SECOND if second else LOWER, _round(u / width)
    for limb in range(2):
        side = 2.0 * limb - 1.0
        place, distance = _along(u, v, side * 0.5 * person.hip, person.hip_v, pose.foot_u[limb], pose.foot_v[limb])
        at = person.hip_v + place * (1.0 - person.hip_v)
        width = 0.04 - 0.016 * place
        if at > person.boot_v and abs(distance) < width + 0.012:
            return SHOES, 1.0
        if at < person.lower_v and not skirt:
            width = person.thigh + place * (person.lower_width - person.thigh)
            if abs(distance) < width:
                second = _in_pattern(person.lower_pattern, distance / width, down, spec)
                return LOWER_SECOND if second else LOWER, _round(distance / width)
        elif abs(distance) < width:
            return SKIN, _round(distance / width)
    return NOTHING, 1.0


@_compiled
def _behind(u: float, v: float, person: Any) -> Hit:
    """Long hair and a backpack, seen past the body."""
    if person.hair == people.LONG_HAIR and 0.05 < v < 0.24 and abs(u) < 0.07:
        return HAIR, 0.85
    backpack = person.bag == people.BACKPACK and 0.18 < v < 0.2 + 0.22 * person.bag_size
    if backpack and abs(u) < person.shoulder + 0.035 * person.bag_size:
        return BAG, 0.9
    return NOTHING, 1.0
