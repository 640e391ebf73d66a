"""A run's numbers as gauges of Ray, which each node offers to Prometheus; Ray puts `ray_` before their names."""

from collections.abc import Mapping, Sequence
from typing import Any

from ray.util.metrics import Gauge

from ecul.config import Config
from ecul.engine.interfaces import Record, Reporter

GAUGES: Mapping[str, tuple[str, str]] = {
    "ecul_epoch": ("epoch", "epochs trained"),
    "ecul_images_per_second": ("images_per_second", "images per second in the steps, of all workers together"),
    "ecul_clustering_seconds": ("seconds/cluster", "from the end of the embedding to the labels"),
    "ecul_loss": ("loss/total", "mean loss of the epoch"),
    "ecul_map": ("evaluation/map", "mean average precision of the first protocol, from 0 to 1"),
}
"""Gauges by name: the metric of an epoch that they show, and its meaning."""


class Gauges(Reporter):
    """Sets the gauges after each epoch, with the run's name as their label `run`."""

    def __init__(self, run: str) -> None:
        """Registers nothing yet; `run` is the run's name."""
        self._run = run
        self._gauges: dict[str, Gauge] = {}

    def start(
        self, config: Config, provenance: Mapping[str, Any], *, epoch: int, history: Sequence[Record] = ()
    ) -> None:
        """Registers the gauges, and shows the last epoch of a run that goes on."""
        self._gauges = {name: Gauge(name, meaning, tag_keys=("run",)) for name, (_, meaning) in GAUGES.items()}
        if history:
            self.epoch(history[-1])

    def epoch(self, record: Record) -> None:
        """Shows the epoch's numbers; one that it lacks stays as it was."""
        for name, (metric, _) in GAUGES.items():
            if metric in record:
                self._gauges[name].set(record[metric], tags={"run": self._run})
