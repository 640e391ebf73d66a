import pytest
from pydantic import BaseModel

from cluster.tracking.interface import TRACKERS
from ecul.errors import ConfigError
from tune.config import (
    DomainConfig,
    FeaturesConfig,
    FullConfig,
    LimitConfig,
    ObjectiveConfig,
    SamplerConfig,
    SweepConfig,
    load_sweep,
    sweep_text,
)


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ({}, "exactly one of"),
        ({"int": [2, 4], "float": [2, 4]}, "exactly one of"),
        ({"int": [5, 4]}, "above the high end"),
        ({"float": [0.0, 1.0], "log": True}, "above 0"),
        ({"int": [2, 4], "stp": 1}, "did you mean space.clustering.united.k2.step"),
    ],
)
def test_bad_domains_are_refused(make_bare_sweep, domain, message):
    with pytest.raises(ConfigError, match=message):
        make_bare_sweep(space={"clustering.united.k2": domain})


@pytest.mark.parametrize("metric", ["test_map", "evaluation/map", "map", "rank1"])
def test_test_identities_cannot_be_an_objective(make_bare_sweep, metric):
    for fidelity in ("features", "full"):
        with pytest.raises(ConfigError, match="on test identities"):
            make_bare_sweep(fidelity=fidelity, objectives={fidelity: [{"metric": metric}]})


def test_an_objective_of_the_other_fidelity_or_unknown_is_refused(make_bare_sweep):
    with pytest.raises(ConfigError, match="other fidelity"):
        make_bare_sweep(objectives={"features": [{"metric": "validation_map"}]})
    with pytest.raises(ConfigError, match="unknown objective"):
        make_bare_sweep(objectives={"features": [{"metric": "beauty"}]})
    with pytest.raises(ConfigError, match=r"objectives.full is missing"):
        make_bare_sweep(fidelity="full", objectives={"features": [{"metric": "stability"}]})


def test_samplers_and_pruning_that_cannot_take_several_objectives_say_so(make_bare_sweep):
    two = [{"metric": "validation_ari"}, {"metric": "clustering_seconds", "mode": "min"}]
    with pytest.raises(ConfigError, match="cmaes takes one"):
        make_bare_sweep(objectives={"features": two}, sampler={"name": "cmaes"})
    both = [{"metric": "validation_map"}, {"metric": "epoch_clustering_seconds", "mode": "min"}]
    with pytest.raises(ConfigError, match="prune=false"):
        make_bare_sweep(fidelity="full", objectives={"full": both})


def test_a_written_sweep_reads_back_alike(make_bare_sweep, tmp_path):
    sweep = make_bare_sweep(full={"warm_start": "runs/a"}, sampler={"name": "qmc"})
    (tmp_path / "again.yaml").write_text(sweep_text(sweep))
    assert load_sweep(tmp_path / "again.yaml") == sweep


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_sweep_takes_every_tracker(make_bare_sweep, tracker):
    assert make_bare_sweep(tracker=tracker).tracker == tracker


def test_an_unknown_tracker_is_refused(make_bare_sweep):
    with pytest.raises(ConfigError, match=r"tracker: Input should be 'none', .*, got 'mlflow'"):
        make_bare_sweep(tracker="mlflow")


@pytest.mark.parametrize(
    "model", [SweepConfig, DomainConfig, ObjectiveConfig, LimitConfig, SamplerConfig, FeaturesConfig, FullConfig]
)
def test_every_key_is_documented(model: type[BaseModel]):
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_a_misspelt_key_is_named(make_bare_sweep):
    with pytest.raises(ConfigError, match="unknown key trails; did you mean trials"):
        make_bare_sweep(trails=3)
