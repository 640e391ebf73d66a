import numpy as np
import pytest
import torch

from ecul.config import MemoryConfig
from ecul.engine.memories import UpdateRules, build_memories, positive_table, update_rules
from ecul.types import ClusteringResult

RULES = UpdateRules(intra=("mean", 0.2), united=("mean", 0.2), instance_momentum=0.2)


def test_the_rules_of_an_epoch_follow_the_two_schedules():
    steps = {"first_momentum": 0.1, "second_momentum": 0.3}
    config = MemoryConfig.model_validate(
        {"intra": {"switch_epoch": 2, "first_rule": "hard", **steps}, "united": {"switch_epoch": 3, **steps}}
    )
    first, second, third = (update_rules(config, epoch) for epoch in (1, 2, 3))
    assert first == UpdateRules(intra=("hard", 0.1), united=("random", 0.1), instance_momentum=0.3)
    assert second == UpdateRules(intra=("mean", 0.3), united=("random", 0.1), instance_momentum=0.3)
    assert third == UpdateRules(intra=("mean", 0.3), united=("mean", 0.3), instance_momentum=0.3)


def test_positive_table_lists_both_directions():
    pairs = np.array([[0, 3], [0, 4], [1, 3]], np.int32)
    assert positive_table(pairs, 5).tolist() == [[3, 4], [3, -1], [-1, -1], [0, 1], [0, -1]]


def test_memories_are_cluster_means_and_modality_balanced_in_the_united_one():
    modality = np.array([0, 0, 0, 1], np.int32)
    labels = ClusteringResult(
        intra_label=np.array([0, 0, 1, 0], np.int32),
        num_visible_clusters=2,
        num_infrared_clusters=1,
        united_label=np.array([0, 0, -1, 0], np.int32),
        num_united_clusters=1,
        selected_pairs=np.array([[0, 3]], np.int32),
    )
    memories = build_memories(torch.eye(4), modality, labels, RULES)
    half = 0.5**0.5
    assert memories.visible.tolist() == [pytest.approx([half, half, 0, 0]), [0, 0, 1, 0]]
    assert memories.infrared.tolist() == [[0, 0, 0, 1]]
    assert memories.united is not None
    expected = np.array([0.25, 0.25, 0, 0.5])
    assert memories.united[0].tolist() == pytest.approx(list(expected / np.linalg.norm(expected)))
    assert memories.positives is not None
    assert memories.positives[:, 0].tolist() == [3, -1, -1, 0]
