"""How learnable the synthetic people are: training with true labels; minutes, so outside the default run."""

from pathlib import Path

import numpy as np
import pytest

from ecul.data.dataset import open_dataset
from ecul.data.synthetic import synthesize
from ecul.engine.checkpoints import LocalStore
from ecul.engine.fit import fit
from ecul.engine.run_directory import RunDirectory
from ecul.settings import load_config
from ecul.types import ClusteringRequest, ClusteringResult, FeatureBank

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
CONFIG = Path(__file__).parents[2] / "configs" / "synthetic.yaml"


def test_supervised_training_of_the_small_backbone_solves_the_synthetic_people(tmp_path: Path):
    root = synthesize_demo(tmp_path / "data")
    dataset = open_dataset(str(root), layout="auto")
    truth = np.unique(dataset.train.identity, return_inverse=True)[1].astype(np.int32)
    count = int(truth.max()) + 1

    def true_labels(bank: FeatureBank, request: ClusteringRequest) -> ClusteringResult:
        return ClusteringResult(truth, count, count, truth, count)

    changes = ["stages.intra=0", "stages.united=40", "stages.iterations=40", "optim.decay_epochs=16"]
    changes += [f"data.root={root}", "evaluation.every=8", "optim.learning_rate=1e-3"]
    run = tmp_path / "run"
    result = fit(
        load_config(str(CONFIG), changes), clustering_fn=true_labels, reporter=RunDirectory(run), store=LocalStore(run)
    )
    figures = result.retrieval[0].summary()
    print(f"supervised: Rank-1 {figures['rank1']:.3f}, mAP {figures['map']:.3f}")
    assert figures["rank1"] >= 0.85


def synthesize_demo(folder: Path) -> Path:
    """The people of `make demo`."""
    synthesize(folder, layout="sysu", num_identities=100, num_test_identities=50, height=64, width=32, seed=0)
    return folder
