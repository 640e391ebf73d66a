import numpy as np
import torch

from ecul.features.extract import extract
from ecul.types import Modality

IMAGES = torch.randn(7, 1, 1, 3, generator=torch.Generator().manual_seed(0))
MODALITY = np.array([0, 1, 0, 1, 1, 0, 1], np.int32)


def embed(images: torch.Tensor, modality: Modality) -> torch.Tensor:
    return images.flatten(1) * (1 if modality == Modality.VISIBLE else 2) + modality


def test_features_are_flip_averaged_normalised_and_in_order():
    positions = np.array([3, 0, 6, 5])
    got = extract(embed, lambda wanted: IMAGES[wanted], MODALITY, positions, batch_size=2)
    for row, position in zip(got, positions, strict=True):
        image, modality = IMAGES[position : position + 1], Modality(MODALITY[position])
        mean = (embed(image, modality) + embed(image.flip(3), modality))[0] / 2
        np.testing.assert_allclose(row.numpy(), (mean / mean.norm()).numpy(), rtol=1e-5)


def test_no_positions_give_no_rows():
    assert len(extract(embed, lambda wanted: IMAGES[wanted], MODALITY, np.empty(0, np.int64), batch_size=2)) == 0
