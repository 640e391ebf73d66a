from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ecul.config import Config
from ecul.engine.memories import UpdateRules
from ecul.engine.memory_start import MemoryPlan, build_memories, memory_plan, positive_table
from ecul.memory_parameters import BlendParameters
from ecul.types import ClusteringResult

MEAN = ("mean", 0.2)
PLAN = MemoryPlan(rules=UpdateRules(intra=MEAN, united=MEAN, instances=MEAN))
MODALITY = np.array([0, 0, 0, 1], np.int32)
LABELS = ClusteringResult(
    intra_label=np.array([0, 0, 1, 0], np.int32),
    num_visible_clusters=2,
    num_infrared_clusters=1,
    united_label=np.array([0, 0, -1, 0], np.int32),
    num_united_clusters=1,
    selected_pairs=np.array([[0, 3]], np.int32),
)


def plan(epoch: int = 1, **sections: Any) -> MemoryPlan:
    return memory_plan(Config.model_validate({"data": {"root": "x"}} | sections), epoch)


def test_the_rules_of_an_epoch_follow_the_schedules():
    steps = {"first_momentum": 0.1, "second_momentum": 0.3}
    memory = {
        "intra": {"switch_epoch": 2, "first_rule": "hard", "first_initial": "random", **steps},
        "united": {"switch_epoch": 3, **steps},
    }
    first, second, third = (plan(epoch, memory=memory) for epoch in (1, 2, 3))
    instances = ("mean", 0.3)
    assert first.rules == UpdateRules(intra=("hard", 0.1), united=("random", 0.1), instances=instances)
    assert second.rules == UpdateRules(intra=("mean", 0.3), united=("random", 0.1), instances=instances)
    assert third.rules == UpdateRules(intra=("mean", 0.3), united=("mean", 0.3), instances=instances)
    assert [step.intra_initial for step in (first, second)] == ["random", "mean"]
    own = {"instances": {"switch_epoch": 2, "first_momentum": 0.0}, "united_means": "plain"}
    rules = plan(1, memory=memory | own).rules
    assert (rules.instances, rules.balanced) == (("random", 0.0), False)


def test_blending_begins_with_its_stage():
    stages = {"intra": 2, "blend": 2, "united": 2}
    memory = {"blend": {"from_stage": "blend"}}
    blended = [plan(epoch, stages=stages, memory=memory).blend is not None for epoch in range(1, 7)]
    assert blended == [False, False, True, True, True, True]
    late = {"blend": {"from_stage": "united", "from_epoch": 2}}
    blended = [plan(epoch, stages=stages | {"blend": 0}, memory=late).blend is not None for epoch in range(1, 5)]
    assert blended == [False, False, False, True]
    assert plan(1).blend is None


def test_terms_against_all_instances_are_of_the_stages_that_are_named():
    stages = {"intra": 1, "blend": 0, "united": 1}
    bank = {"intra_weight": 1.0, "intra_stages": ["intra"], "united_weight": 0.7}
    plans = [plan(epoch, stages=stages, loss={"bank": bank}) for epoch in (1, 2)]
    assert [step.bank_intra for step in plans] == [True, False]
    assert all(step.bank_united for step in plans)
    assert not plan(1).bank_intra
    assert not plan(1).bank_united


def test_positive_table_lists_both_directions():
    pairs = np.array([[0, 3], [0, 4], [1, 3]], np.int32)
    assert positive_table(pairs, 5).tolist() == [[3, 4], [3, -1], [-1, -1], [0, 1], [0, -1]]


def unit(*row: float) -> Any:
    return pytest.approx(list(np.array(row) / np.linalg.norm(row)))


def test_memories_are_cluster_means_and_modality_balanced_in_the_united_one():
    memories = build_memories(torch.eye(4), MODALITY, LABELS, PLAN)
    assert memories.visible.tolist() == [unit(1, 1, 0, 0), [0, 0, 1, 0]]
    assert memories.infrared.tolist() == [[0, 0, 0, 1]]
    assert memories.united is not None
    assert memories.united[0].tolist() == unit(0.25, 0.25, 0, 0.5)
    assert memories.positives is not None
    assert memories.positives[:, 0].tolist() == [3, -1, -1, 0]
    assert memories.blended is None


def test_a_plain_united_mean_counts_images():
    rules = UpdateRules(intra=MEAN, united=MEAN, instances=MEAN, balanced=False)
    memories = build_memories(torch.eye(4), MODALITY, LABELS, MemoryPlan(rules=rules))
    assert memories.united is not None
    assert memories.united[0].tolist() == unit(1, 1, 0, 1)


def test_random_rows_are_embeddings_of_members_and_follow_the_key():
    seen = set()
    for seed in range(20):
        random = MemoryPlan(rules=PLAN.rules, intra_initial="random", united_initial="random", key=(seed,))
        memories = build_memories(torch.eye(4), MODALITY, LABELS, random)
        assert memories.united is not None
        again = build_memories(torch.eye(4), MODALITY, LABELS, random)
        assert torch.equal(memories.visible, again.visible)
        assert memories.visible[1].tolist() == [0, 0, 1, 0]
        assert int(memories.united[0].argmax()) in (0, 1, 3)
        seen.add(int(memories.visible[0].argmax()))
    assert seen == {0, 1}


def test_both_memories_are_blended_with_the_rows_as_they_were_before():
    features = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]), dim=1)
    blend = BlendParameters(from_stage="blend", weight=0.5, threshold=0.5)
    memories = build_memories(features, MODALITY, LABELS, MemoryPlan(rules=PLAN.rules, blend=blend))
    # the infrared image is nearest to visible row 0 (.8 against .6); both visible clusters choose the infrared row
    assert memories.visible.tolist() == [pytest.approx([0.9, 0.3]), [0, 1]]
    after_first = [(0.8 + 1) / 2, 0.6 / 2]
    assert memories.infrared.tolist() == [pytest.approx([after_first[0] / 2, (after_first[1] + 1) / 2])]
    assert memories.blended == (1, 1)


def test_the_instance_memory_is_there_where_a_term_needs_it_and_may_go_on():
    without_pairs = ClusteringResult(LABELS.intra_label, 2, 1)
    assert build_memories(torch.eye(4), MODALITY, without_pairs, PLAN).instances is None
    bank = MemoryPlan(rules=PLAN.rules, bank_intra=True, bank_united=True)
    memories = build_memories(torch.eye(4), MODALITY, without_pairs, bank)
    assert memories.instances is not None
    assert not memories.bank_united  # there are no united clusters
    older = torch.ones(4, 4)
    assert build_memories(torch.eye(4), MODALITY, without_pairs, bank, instances=older).instances is older
    assert build_memories(torch.eye(4), MODALITY, LABELS, bank).bank_united


def test_an_instance_memory_that_goes_on_is_kept_through_an_epoch_without_a_use_for_it():
    without_pairs = replace(LABELS, selected_pairs=None)
    before = torch.ones(4, 2)
    kept = build_memories(torch.eye(4)[:, :2], MODALITY, without_pairs, PLAN, instances=before).instances
    assert kept is before
    assert build_memories(torch.eye(4)[:, :2], MODALITY, without_pairs, PLAN).instances is None
