import numpy as np
import pytest
import torch

from ecul import runtime
from ecul.config import Config, OptimConfig
from ecul.engine.epoch import clustering_request, stage_of
from ecul.engine.memories import UpdateRules, build_memories, positive_table
from ecul.engine.optim import learning_rate
from ecul.engine.run_directory import epoch_line, summary_table
from ecul.errors import EculError
from ecul.types import ClusteringResult, RetrievalResult, group_ids

RULES = UpdateRules(intra=("mean", 0.2), united=("mean", 0.2), instance_momentum=0.2)


def test_stages_follow_one_another():
    config = Config.model_validate({"data": {"root": "x"}, "stages": {"bootstrap": 1, "intra": 2, "united": 2}})
    assert [stage_of(config, epoch) for epoch in range(1, 6)] == [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert clustering_request(config, 1, 1).united is None
    assert clustering_request(config, 2, 1).selection is not None


def test_learning_rate_warms_up_and_decays_by_steps():
    config = OptimConfig(learning_rate=1.0, decay_epochs=3, decay_factor=0.1, warmup_epochs=1)
    rates = [learning_rate(config, epoch) for epoch in range(1, 8)]
    assert rates == pytest.approx([0.5, 1, 1, 0.1, 0.1, 0.1, 0.01])


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


def test_groups_are_pairs_of_modality_and_camera():
    modality, camera = np.array([1, 0, 0, 1]), np.array([1, 1, 2, 1])
    assert group_ids(modality, camera).tolist() == [2, 0, 1, 2]


def test_random_generators_depend_on_the_whole_key():
    assert runtime.generator(1, 2).random() == runtime.generator(1, 2).random()
    assert runtime.generator(1, 2).random() != runtime.generator(2, 1).random()
    assert runtime.torch_generator(3).initial_seed() == runtime.torch_generator(3).initial_seed()


def test_a_missing_device_is_named():
    if not torch.cuda.is_available():
        with pytest.raises(EculError, match="cuda is not available"):
            runtime.pick_device("cuda")
    assert runtime.pick_device("cpu").type == "cpu"


def test_a_single_process_is_rank_0_of_1():
    rows = torch.ones(2, 3)
    assert (runtime.rank(), runtime.world_size(), runtime.is_main()) == (0, 1, True)
    assert runtime.gather_rows(rows) is rows
    assert runtime.on_main(lambda: 5) == 5


def test_an_epoch_and_a_result_as_text():
    line = epoch_line({"epoch": 3, "stage": 2, "loss/total": 1.5, "united/clusters": 7, "seconds/train": 2.0})
    assert line == "epoch   3  stage 2  loss 1.500  united 7  2 s"
    cmc = np.tile(np.linspace(0.5, 1, 20), (2, 1))
    result = RetrievalResult("sysu_all_single", cmc, np.array([0.2, 0.4]), np.array([0.1, 0.1]))
    assert "30.00 ± 10.00" in summary_table([result])
