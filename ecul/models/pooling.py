"""Pooling of feature maps."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class GeM(nn.Module):
    """Generalised-mean pooling with a fixed exponent (Radenovic et al. 2018; AGW uses p = 3)."""

    def __init__(self, *, exponent: float = 3.0, minimum: float = 1e-6) -> None:
        super().__init__()
        self.exponent = exponent
        self.minimum = minimum

    def forward(self, maps: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C"]:
        """Returns (mean of max(x, minimum)^p)^(1/p) over the positions; computed in float32 under autocast."""
        clamped = maps.float().clamp(min=self.minimum)
        return clamped.pow(self.exponent).mean(dim=(2, 3)).pow(1.0 / self.exponent)


class NonLocal(nn.Module):
    """Non-local block (Wang et al. 2018), embedded-dot-product form; it starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.out = nn.Sequential(nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.out[1].weight)  # pyright: ignore[reportArgumentType]

    def forward(self, maps: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Returns the maps plus what every position gathers from all others. Memory grows with (HW)^2."""
        queries, keys, values = (layer(maps).flatten(2) for layer in (self.theta, self.phi, self.value))
        affinity = torch.einsum("bcq,bck->bqk", queries, keys) / keys.shape[2]
        gathered = torch.einsum("bqk,bck->bcq", affinity, values)
        return maps + self.out(gathered.reshape(*gathered.shape[:2], *maps.shape[2:]))
