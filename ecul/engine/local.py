"""Clustering in this process, and the run directory."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.data.dataset import read_image
from ecul.engine.interfaces import FitResult, Gallery, Record, write_atomically
from ecul.settings import config_tree
from ecul.types import ClusteringRequest, ClusteringResult, FeatureBank, RetrievalResult

log = logging.getLogger(__name__)
_GALLERY_HEIGHT, _GALLERY_WIDTH = 128, 64


class LocalCluster:
    """Clusters in this process."""

    def __init__(self, num_threads: int | None = None) -> None:
        self._num_threads = num_threads

    def __call__(self, bank: FeatureBank, request: ClusteringRequest) -> ClusteringResult:
        """Returns the epoch's pseudo-labels."""
        return cluster_epoch(bank, request, num_threads=self._num_threads)


class RunDirectory:
    """A `Reporter` that leaves run.json, metrics.jsonl, curves.png, gallery.png and result.json in a folder."""

    def __init__(self, path: Path, *, progress: bool = False) -> None:
        """Takes the folder, and whether to draw a progress bar on the terminal."""
        self._path = path
        self._bar: tqdm | None = tqdm(leave=False, unit="step") if progress else None
        self._records: list[Record] = []

    def start(self, config: Config, facts: Mapping[str, Any], *, epoch: int) -> None:
        """Writes run.json; when resuming, drops the lines of epochs that will be repeated."""
        self._path.mkdir(parents=True, exist_ok=True)
        self._records = [record for record in read_records(self._path) if record["epoch"] <= epoch] if epoch else []
        self._write_records()
        description = {"config": config_tree(config), **facts, "resumed_after_epoch": epoch}
        write_atomically(self._path / "run.json", json.dumps(description, indent=2) + "\n")
        log.info(
            "%s: %d training images, %d test images, on %s; run directory %s",
            facts["dataset"],
            facts["num_training_images"],
            facts["num_test_images"],
            facts["device"],
            self._path,
        )

    def progress(self, epoch: int, step: int, num_steps: int) -> None:
        """Moves the progress bar."""
        if self._bar is None:
            return
        if step == 1:
            self._bar.reset(total=num_steps)
            self._bar.set_description(f"epoch {epoch}", refresh=False)
        self._bar.update()

    def epoch(self, record: Record) -> None:
        """Adds a line to metrics.jsonl and logs one."""
        if self._bar is not None:
            self._bar.clear()
        self._records.append(dict(record))
        with (self._path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(dict(record)) + "\n")
        log.info("%s", epoch_line(record))

    def warn(self, message: str) -> None:
        """Logs a warning and keeps it in warnings.log."""
        log.warning("%s", message)
        with (self._path / "warnings.log").open("a") as file:
            file.write(message + "\n")

    def finish(self, result: FitResult) -> None:
        """Writes the final figures and pictures."""
        if self._bar is not None:
            self._bar.close()
        from ecul.plots.curves import plot_curves  # matplotlib is slow to import, and workers but one draw nothing

        write_atomically(self._path / "result.json", json.dumps(result_tree(result), indent=2) + "\n")
        plot_curves([dict(record) for record in self._records], self._path / "curves.png")
        if result.gallery is not None:
            draw_gallery(result.gallery, self._path / "gallery.png")

    def _write_records(self) -> None:
        write_atomically(self._path / "metrics.jsonl", "".join(json.dumps(dict(r)) + "\n" for r in self._records))


def read_records(run: Path) -> list[dict[str, float]]:
    """Returns the lines of a run's metrics.jsonl; a last line cut short by a crash is left out."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def result_tree(result: FitResult) -> dict[str, Any]:
    """Returns a result as plain data: mean, standard deviation and every trial of each protocol."""
    return {
        "epoch": result.epoch,
        "protocols": {
            retrieval.protocol: {
                "mean": retrieval.summary(),
                "trials": {
                    "rank1": retrieval.cmc[:, 0].tolist(),
                    "map": retrieval.mean_average_precision.tolist(),
                    "minp": retrieval.mean_inverse_negative_penalty.tolist(),
                },
            }
            for retrieval in result.retrieval
        },
    }


def draw_gallery(gallery: Gallery, path: Path) -> None:
    """Writes a picture of queries and their nearest gallery images."""
    from ecul.plots.gallery import plot_gallery

    def image(file: str) -> np.ndarray:
        return read_image(file, height=_GALLERY_HEIGHT, width=_GALLERY_WIDTH)

    queries = np.stack([image(file) for file in gallery.query_paths])
    ranked = np.stack([np.stack([image(file) for file in row]) for row in gallery.ranked_paths])
    plot_gallery(queries, ranked, np.array(gallery.correct), path)


def epoch_line(record: Record) -> str:
    """Returns an epoch's one line for people."""
    parts = [f"epoch {int(record['epoch']):3d}"]
    if record["stage"] or record["epoch"]:
        parts.append(f"stage {int(record['stage'])}")
    named = (
        ("loss", "loss/total", ".3f"),
        ("visible", "visible/clusters", ".0f"),
        ("infrared", "infrared/clusters", ".0f"),
        ("united", "united/clusters", ".0f"),
        ("both", "united/cross_modality_share", ".2f"),
        ("rank1", "evaluation/rank1", ".3f"),
        ("mAP", "evaluation/map", ".3f"),
    )
    parts += [f"{label} {record[key]:{form}}" for label, key, form in named if key in record]
    seconds = sum(value for key, value in record.items() if key.startswith("seconds/"))
    return "  ".join([*parts, f"{seconds:.0f} s"])


def summary_table(results: Sequence[RetrievalResult]) -> str:
    """Returns a text table: mean and standard deviation over the trials of each protocol, in percent."""
    names = ("rank1", "rank5", "rank10", "rank20", "map", "minp")
    width = max((len(result.protocol) for result in results), default=8)
    lines = [f"{'protocol':{width}}  trials  " + "  ".join(f"{name:>12}" for name in names)]
    for result in results:
        summary = result.summary()
        cells = [
            f"{100 * summary[name]:5.2f} ± {100 * summary[name + '_std']:4.2f}" if name in summary else "-"
            for name in names
        ]
        lines.append(f"{result.protocol:{width}}  {len(result.cmc):6d}  " + "  ".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)
