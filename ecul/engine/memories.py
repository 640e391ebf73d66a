"""The memories at the start of an epoch."""

import numpy as np
import torch
from numpy.typing import NDArray

from ecul.engine.step import Memories
from ecul.memory.bank import cluster_means, united_means
from ecul.types import ClusteringResult, FeatureBank, Modality


def build_memories(bank: FeatureBank, labels: ClusteringResult, device: torch.device) -> Memories:
    """Returns the memories at the start of an epoch: normalised cluster means (method section 5)."""
    features = torch.from_numpy(np.array(bank.features)).to(device)
    modality = torch.from_numpy(bank.modality.astype(np.int64)).to(device)
    intra = torch.from_numpy(labels.intra_label.astype(np.int64)).to(device)
    sides = (modality == Modality.VISIBLE, modality == Modality.INFRARED)
    visible, infrared = (
        cluster_means(features[side], intra[side], num_clusters=count)
        for side, count in zip(sides, (labels.num_visible_clusters, labels.num_infrared_clusters), strict=True)
    )
    united, positives = None, None
    united_label = torch.full_like(intra, -1)
    if labels.united_label is not None:
        united_label = torch.from_numpy(labels.united_label.astype(np.int64)).to(device)
        united = united_means(features, united_label, modality, num_clusters=labels.num_united_clusters)
    if labels.selected_pairs is not None and len(labels.selected_pairs):
        positives = torch.from_numpy(positive_table(labels.selected_pairs, len(bank))).to(device)
    bank_rows = features if positives is not None else None
    return Memories(visible, infrared, united, bank_rows, positives, modality, intra, united_label)


def positive_table(pairs: NDArray[np.int32], num_images: int) -> NDArray[np.int64]:
    """Returns int64 (N, M), the selected images of each image in both directions, -1 padded."""
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64)
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    counts = np.bincount(both[:, 0], minlength=num_images)
    column = np.arange(len(both)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((num_images, counts.max()), -1, np.int64)
    table[both[:, 0], column] = both[:, 1]
    return table
