"""From pooled features to embeddings."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class BNNeck(nn.Module):
    """Batch normalisation with a frozen bias, then L2 normalisation (Luo et al. 2019; the form the field uses)."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(num_features)
        self.norm.bias.requires_grad_(False)

    def forward(self, pooled: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Returns unit rows."""
        return F.normalize(self.norm(pooled))
