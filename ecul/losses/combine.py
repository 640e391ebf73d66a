"""From per-sample values to one number, each reduced once.

Shape legend: B anchors.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked_sum(values: Float[Tensor, "B"], mask: Bool[Tensor, "B"]) -> Float[Tensor, ""]:
    """The sum of the values under the mask; 0 (with zero gradient) if nothing is under it.

    Args:
        values: per-sample values; those outside the mask may be anything, NaN included.
        mask: which of them count.
    """
    return torch.where(mask, values, 0.0).sum()


def total(terms: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, int | float]) -> Float[Tensor, ""]:
    """The weighted sum of the named terms, in the order of the names.

    Args:
        terms: scalars by name, at least one.
        weights: a weight for every term; weights of absent terms are not used.

    Raises:
        ValueError: no term, or a term without a weight.
    """
    if not terms:
        raise ValueError("there is no loss term to add up")
    unknown = sorted(set(terms) - set(weights))
    if unknown:
        raise ValueError(f"no weight for the loss terms {', '.join(unknown)}; weights are given for {sorted(weights)}")
    return torch.stack([terms[name] * weights[name] for name in sorted(terms)]).sum()
