from ecul.config import Config
from ecul.engine.epoch import clustering_request, stage_of


def test_stages_follow_one_another():
    config = Config.model_validate({"data": {"root": "x"}, "stages": {"bootstrap": 1, "intra": 2, "united": 2}})
    assert [stage_of(config, epoch) for epoch in range(1, 6)] == [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert clustering_request(config, 1, 1).united is None
    assert clustering_request(config, 2, 1).selection is not None
