from ecul.config import Config
from ecul.engine.epoch import clustering_request


def test_only_the_last_stage_clusters_both_modalities_together():
    config = Config.model_validate({"data": {"root": "x"}})
    assert clustering_request(config, "intra", 1).united is None
    assert clustering_request(config, "blend", 1).united is None
    assert clustering_request(config, "united", 1).selection is not None
