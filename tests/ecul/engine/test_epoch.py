import pytest

from ecul.config import Config
from ecul.engine.epoch import clustering_request, moved_numbers


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
