from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ecul.clustering.pipeline import cluster_epoch
from ecul.engine.checkpoints import LocalStore
from ecul.engine.fit import fit
from ecul.engine.inspection import LARGEST, LEAST_CERTAIN, MIXED, choose_sheets, cluster_margin
from ecul.engine.inspection_file import INSPECTION_FILE, Inspector, read_inspection
from ecul.engine.interfaces import Gallery, Reporter
from ecul.engine.run_directory import RunDirectory
from ecul.engine.session import open_data
from ecul.errors import DataError
from ecul.types import ClusteringResult, FeatureBank


class Keeps(Reporter):
    """Keeps files and warnings."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.warnings: list[str] = []

    def file(self, name, content):
        self.files[name] = content

    def warn(self, message):
        self.warnings.append(message)


@pytest.fixture
def dataset(tiny_config):
    return open_data(tiny_config())


def epoch_of(dataset):
    """Embeddings and labels of an epoch: each cluster holds two people, in whatever modality they are."""
    samples = dataset.train.samples
    features = np.random.default_rng(0).normal(size=(len(samples), 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    label = np.unique(dataset.train.identity // 2, return_inverse=True)[1].astype(np.int32)
    label[::7] = -1
    visible, infrared = (np.flatnonzero(samples.modality == kind).astype(np.int32) for kind in (0, 1))
    pairs = np.stack([visible[:40], infrared[:40]], axis=1)
    return FeatureBank(features, samples.modality, samples.camera), ClusteringResult(
        label, int(label.max()) + 1, int(label.max()) + 1, label, int(label.max()) + 1, pairs
    )


def test_the_margin_is_that_of_a_calculation_by_hand():
    root = np.float32(np.sqrt(0.5))
    features = np.array([[1, 0], [root, root], [0, 1], [0, 1], [-1, 0]], np.float32)
    margin = cluster_margin(features, np.array([0, 0, 1, 1, -1], np.int32))
    # the mean of the first cluster lies at 22.5 degrees
    near, across, far = np.cos(np.pi / 8), root, np.sin(np.pi / 8)
    np.testing.assert_allclose(margin, [near - 0, near - across, 1 - far, 1 - far, np.nan], atol=1e-6)


@pytest.mark.parametrize("label", [[-1, -1, -1], [0, 0, -1]])
def test_without_a_second_cluster_nothing_is_certain(label):
    assert np.isnan(cluster_margin(np.eye(3, dtype=np.float32), np.array(label, np.int32))).all()


def test_sheets_show_each_cluster_once_and_every_camera():
    label = np.repeat(np.arange(20), np.arange(41, 21, -1)).astype(np.int32)
    modality, camera = np.tile([0, 0, 1], len(label))[: len(label)], np.arange(len(label), dtype=np.int32) % 4
    margin = np.where(label == 19, -0.5, 0.5).astype(np.float32)
    sheets = choose_sheets(label, margin, modality.astype(np.int32), camera)
    assert [sheet.cluster for sheet in sheets if sheet.reason == LARGEST] == [0, 1, 2, 3, 4, 5]
    assert next(sheet.cluster for sheet in sheets if sheet.reason == LEAST_CERTAIN) == 19
    assert sum(sheet.reason == MIXED for sheet in sheets) == 6
    assert len({sheet.cluster for sheet in sheets}) == len(sheets)
    for sheet in sheets:
        members = np.array(sheet.members)
        assert len(set(sheet.members)) == 16
        assert set(label[members]) == {sheet.cluster}
        assert len(set(zip(modality[members], camera[members], strict=True))) == 8
        assert (np.diff(modality[members]) >= 0).all()


def test_labels_without_clusters_have_no_sheets():
    nothing = np.full(5, -1, np.int32)
    zeros = np.zeros(5, np.int32)
    assert choose_sheets(nothing, np.full(5, np.nan, np.float32), zeros, zeros) == ()


def test_what_is_written_reads_back_without_the_dataset(dataset, tmp_path):
    bank, labels = epoch_of(dataset)
    keeps, paths = Keeps(), dataset.test.samples.paths
    inspector = Inspector(dataset, keeps)
    inspector.clustered(4, bank, labels)
    inspector.evaluated(Gallery(paths[:2], (paths[2:5], paths[5:8]), ((True, False, False), (False, False, True))))
    (tmp_path / INSPECTION_FILE).write_bytes(keeps.files[INSPECTION_FILE])
    stored = read_inspection(tmp_path / INSPECTION_FILE)
    clusters = stored.clusters
    assert (clusters.epoch, clusters.united, len(clusters.paths)) == (4, True, len(dataset.train))
    np.testing.assert_array_equal(clusters.label, labels.united_label)
    np.testing.assert_array_equal(clusters.pairs, labels.selected_pairs)
    shown = clusters.pair_distance[clusters.pairs_shown]
    assert (np.diff(shown) >= 0).all()
    assert (shown[0], shown[-1]) == (clusters.pair_distance.min(), clusters.pair_distance.max())
    assert not any(Path(path).is_absolute() for path in (*clusters.paths, *stored.ranks.query_paths))
    needed = {clusters.paths[image] for sheet in clusters.sheets for image in sheet.members}
    needed |= {*stored.ranks.query_paths, *(path for row in stored.ranks.ranked_paths for path in row)}
    assert needed <= stored.thumbnails.keys()
    assert all(
        content.startswith(b"\xff\xd8") and content.endswith(b"\xff\xd9") for content in stored.thumbnails.values()
    )
    assert stored.ranks.correct == ((True, False, False), (False, False, True))


def test_stage_1_shows_the_clusters_of_both_modalities_under_different_numbers(dataset):
    bank, labels = epoch_of(dataset)
    keeps = Keeps()
    inspector = Inspector(dataset, keeps)
    inspector.clustered(1, bank, replace(labels, united_label=None, num_united_clusters=0, selected_pairs=None))
    clusters = inspector._clusters
    visible, infrared = (set(clusters.label[(bank.modality == kind) & (clusters.label >= 0)]) for kind in (0, 1))
    assert visible
    assert infrared
    assert not visible & infrared
    assert not clusters.united


def test_an_image_that_vanished_costs_the_file_and_not_the_run(dataset):
    bank, labels = epoch_of(dataset)
    keeps = Keeps()
    inspector = Inspector(replace(dataset, root="/nowhere"), keeps)
    inspector.clustered(3, bank, labels)
    inspector.evaluated(None)
    assert keeps.files == {}
    assert keeps.warnings[0].startswith("epoch 3: no inspection.npz: image /nowhere")


@pytest.mark.parametrize("damage", ["cut", "label", "member_image", "thumbnail_end"])
def test_a_damaged_file_is_named(dataset, tmp_path, damage):
    bank, labels = epoch_of(dataset)
    keeps = Keeps()
    inspector = Inspector(dataset, keeps)
    inspector.clustered(4, bank, labels)
    inspector.evaluated(None)
    path = tmp_path / INSPECTION_FILE
    path.write_bytes(keeps.files[INSPECTION_FILE])
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        arrays = dict(np.load(path))
        arrays[damage] = arrays[damage] + 10**6 if damage == "member_image" else arrays[damage][:-1]
        np.savez(path, **arrays)
    with pytest.raises(DataError, match=str(path)):
        read_inspection(path)


def test_looking_changes_no_weight(tiny_config, tmp_path):
    weights = []
    for report in (True, False):
        config, folder = tiny_config({"runtime.report": report}), tmp_path / str(report)
        store = LocalStore(folder)
        clustering = partial(cluster_epoch, num_threads=1)
        fit(config, clustering_fn=clustering, reporter=RunDirectory(folder), store=store)
        weights.append((store.load() or {})["model"])
        for name in (INSPECTION_FILE, "curves.png", "gallery.png"):
            assert (folder / name).is_file() == report
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
