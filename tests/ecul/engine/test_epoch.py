import numpy as np
import pytest
import torch

from ecul.config import Config
from ecul.engine.epoch import _memories, clustering_request, moved_numbers
from ecul.engine.state import TrainState
from ecul.errors import CheckpointError
from ecul.types import ClusteringResult, SampleIndex


def test_only_the_last_stage_clusters_both_modalities_together():
    config = Config.model_validate({"data": {"root": "x"}})
    assert clustering_request(config, "intra", 1).united is None
    assert clustering_request(config, "blend", 1).united is None
    assert clustering_request(config, "united", 1).selection is not None


def test_the_numbers_of_an_epoch_follow_the_schedules_of_its_stage():
    moves = {"first": 0.3, "epochs": 2}
    schedules = {
        "united": {"schedule": {"eps": moves}},
        "intra": {"schedule": {"intra": {"k1": {"first": 10, "epochs": 2}}, "united": {"eps": moves}}},
    }
    config = Config.model_validate({"data": {"root": "x"}, "clustering": schedules})
    assert [clustering_request(config, "intra", epoch).intra.k1 for epoch in (1, 2, 3)] == [10, 20, 30]
    assert clustering_request(config, "blend", 1).intra.k1 == 30
    second = [clustering_request(config, "united", epoch) for epoch in (1, 2, 3)]
    assert [round(request.intra.eps, 3) for request in second] == [0.3, 0.45, 0.6]
    assert [request.intra.k1 for request in second] == [30] * 3
    assert [round(request.united.eps, 3) for request in second if request.united] == [0.3, 0.45, 0.6]
    assert moved_numbers(second[1], config, "united") == {
        "schedule/intra_eps": pytest.approx(0.45),
        "schedule/united_eps": pytest.approx(0.45),
    }
    blend = clustering_request(config, "blend", 1)
    assert moved_numbers(blend, config, "blend") == {}


@pytest.mark.parametrize(("filled", "goes_on"), [("stage", True), ("epoch", False)])
def test_the_instance_memory_of_a_checkpoint_is_used_only_where_it_goes_on(filled: str, goes_on: bool):
    sections = {"memory": {"instances": {"filled": filled}}, "loss": {"bank": {"intra_weight": 0.5}}}
    config = Config.model_validate({"data": {"root": "x"}} | sections)
    features = torch.eye(4)
    modality = np.array([0, 0, 1, 1], np.int32)
    samples = SampleIndex(("a", "b", "c", "d"), modality, modality)
    labels = ClusteringResult(np.array([0, 0, 0, 0], np.int32), num_visible_clusters=1, num_infrared_clusters=1)
    state = TrainState(torch.nn.Linear(1, 1), torch.optim.Adam([torch.zeros(1)]), instances=torch.ones(4, 4))
    memory = _memories(config, state, features, samples, labels, epoch=2).instances
    assert memory is not None
    torch.testing.assert_close(memory, torch.ones(4, 4) if goes_on else features, rtol=0, atol=0)
    state.instances = torch.ones(3, 4)
    if goes_on:
        with pytest.raises(CheckpointError, match="is of 3 images, the training set has 4"):
            _memories(config, state, features, samples, labels, epoch=2)
