"""Retrieval quality of a network on the configured split, and a gallery of examples."""

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecul import runtime
from ecul.config import Config
from ecul.data.dataset import ReidDataset
from ecul.data.layouts import protocols_of
from ecul.engine.embedding import embed_images
from ecul.engine.interfaces import Gallery
from ecul.engine.session import image_store
from ecul.errors import DataError
from ecul.evaluation.evaluate import evaluate, nearest_images, sample_queries
from ecul.models.backbone import DualStream
from ecul.types import RetrievalResult

_GALLERY_QUERIES = 8

Evaluation = tuple[tuple[RetrievalResult, ...], dict[str, float], Gallery | None]


class Evaluator:
    """Embeds each image of a split once and ranks it under every protocol and trial."""

    def __init__(self, config: Config, dataset: ReidDataset, device: torch.device) -> None:
        """Opens the images of the configured split.

        Args:
            config: of the run.
            dataset: with identities.
            device: where the networks will be.

        Raises:
            DataError: the split is asked for but the dataset has none.
        """
        index = dataset.validation if config.evaluation.split == "validation" else dataset.test
        if index is None or not len(index):
            raise DataError(f"{dataset.root} has no {config.evaluation.split} images to evaluate on")
        self._config = config
        self._index = index
        self._device = device
        self._store = image_store(config, index.samples.paths)
        self.protocols = protocols_of(dataset.layout, config.evaluation.protocols)

    def embed(self, model: DualStream) -> Tensor:
        """Returns the split's embeddings, float32 (N, D), on every rank's device."""
        return embed_images(
            model,
            self._store,
            self._index.samples,
            device=self._device,
            batch_size=self._config.evaluation.batch_size,
            autocast=self._config.runtime.autocast,
        )

    def evaluate(self, model: DualStream) -> Evaluation:
        """Returns each protocol's result, the metrics by name, and a gallery; they are empty on all ranks but 0.

        The metrics without a protocol's name are those of the first protocol.
        """
        start = time.perf_counter()
        embeddings = self.embed(model)
        if not runtime.is_main():
            return (), {}, None
        features = embeddings.cpu().numpy()
        rule = self._config.evaluation.gallery_rule
        results = tuple(
            evaluate(features, self._index, protocol=protocol, gallery_rule=rule) for protocol in self.protocols
        )
        metrics = {
            f"evaluation/{result.protocol}/{name}": value
            for result in results
            for name, value in result.summary().items()
            if not name.endswith("_std")
        }
        first = results[0].summary()
        metrics |= {f"evaluation/{name}": first[name] for name in ("rank1", "map", "minp")}
        metrics["seconds/evaluate"] = time.perf_counter() - start
        return results, metrics, self._gallery(features)

    def _gallery(self, features: NDArray[np.float32]) -> Gallery:
        protocol, rule = self.protocols[0], self._config.evaluation.gallery_rule
        queries = sample_queries(
            self._index, protocol=protocol, num_queries=_GALLERY_QUERIES, seed=0, gallery_rule=rule
        )
        nearest = nearest_images(features, self._index, queries, protocol=protocol, gallery_rule=rule)
        paths = self._index.samples.paths
        return Gallery(
            query_paths=tuple(paths[position] for position in nearest.query),
            ranked_paths=tuple(tuple(paths[position] for position in row) for row in nearest.nearest),
            correct=tuple(tuple(bool(value) for value in row) for row in nearest.correct),
        )
