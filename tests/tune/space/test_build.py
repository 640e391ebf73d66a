import pytest
import yaml

from ecul.errors import ConfigError
from tune.config import load_sweep, sweep_text
from tune.space.build import base_config, build_space, default_values, from_first_epoch, trial_config

BASE = {
    "data": {"root": "nowhere", "height": 64, "width": 32},
    "model": {"backbone": "small", "weights": "none"},
    "stages": {"intra": 3, "united": 4},
    "clustering": {"k1": 8, "k2": 3, "k3": 9},
    "memory": {"united": {"switch_epoch": 5}, "intra": {"switch_epoch": 2}},
}
SPACE = {
    "clustering.k2": {"int": [2, 16]},
    "clustering.k3": {"int": [4, 40]},
    "clustering.eps": {"float": [0.3, 0.7]},
    "memory.united.switch_epoch": {"epochs": "united"},
}


@pytest.fixture
def make(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))

    def build(**changes):
        tree = {
            "base": str(tmp_path / "base.yaml"),
            "space": SPACE,
            "constraints": ["clustering.k3 >= clustering.k2"],
            "objectives": {
                "features": [{"metric": "validation_cross_modality_f1"}],
                "full": [{"metric": "validation_map"}],
            },
        } | changes
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(tree))
        return load_sweep(tmp_path / "sweep.yaml")

    return build


def space_of(sweep):
    return build_space(sweep, base_config(sweep))


def test_trials_always_judge_on_held_out_people(make):
    base = base_config(make())
    assert base.data.hold_out_validation
    assert base.evaluation.split == "validation"


def test_features_search_what_clustering_feels_and_full_searches_all(make):
    assert set(space_of(make()).domains) == {"clustering.k2", "clustering.k3", "clustering.eps"}
    assert set(space_of(make(fidelity="full")).domains) == set(SPACE)


def test_the_base_is_the_first_point(make):
    sweep = make(fidelity="full")
    base = base_config(sweep)
    point = default_values(build_space(sweep, base), base)
    assert point == {
        "clustering.k2": 3,
        "clustering.k3": 9,
        "clustering.eps": 0.6,
        "memory.united.switch_epoch": 5,
    }


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"clustering.k22": {"int": [2, 4]}}, "unknown path clustering.k22; did you mean clustering.k2"),
        ({"clustering.eps": {"float": [0.3, 1.2]}}, "refuses: clustering.eps"),
        ({"clustering.k2": {"int": [2, 16]}}, "k3 .9. must be at least k2 .16.*add a constraint"),
        ({"evaluation.split": {"categorical": ["test"]}}, "cannot be searched"),
        ({"warm_start": {"categorical": ["a"]}}, "cannot be searched"),
        ({"clustering.k3": {"int": [9, 12], "when": {"clustering.preset": ["emcc"]}}}, "not in the space"),
        ({"loss.temperature": {"float": [0.01, 1]}}, "no such path; use full"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_trial(make, space, message):
    with pytest.raises(ConfigError, match=message):
        space_of(make(space=space, constraints=[]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"constraints": ["clustering.k3 ~ clustering.k2"]}, "PATH >= PATH"),
        ({"constraints": ["clustering.k2 >= clustering.k9"]}, "unknown path"),
        ({"constraints": ["clustering.k3 >= clustering.preset"]}, "neither a number"),
        (
            {"constraints": ["clustering.k3 >= clustering.k2", "clustering.k2 >= clustering.k3"]},
            "go in a circle",
        ),
        ({"constraints": ["clustering.eps >= clustering.k2"]}, "cannot hold"),
    ],
)
def test_impossible_constraints_are_refused(make, changes, message):
    with pytest.raises(ConfigError, match=message):
        space_of(make(**changes))


def test_a_constraint_on_a_fixed_number_cuts_the_domain(make):
    space = space_of(make(space={"clustering.k2": {"int": [2, 16]}}))
    assert space.domains["clustering.k2"].high == 9
    assert not space.constraints


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ({}, "exactly one of"),
        ({"int": [2, 4], "float": [2, 4]}, "exactly one of"),
        ({"int": [5, 4]}, "above the high end"),
        ({"float": [0.0, 1.0], "log": True}, "above 0"),
        ({"int": [2, 4], "stp": 1}, "did you mean space.clustering.k2.step"),
    ],
)
def test_bad_domains_are_refused(make, domain, message):
    with pytest.raises(ConfigError, match=message):
        make(space={"clustering.k2": domain})


@pytest.mark.parametrize("metric", ["test_map", "evaluation/map", "map", "rank1"])
def test_test_identities_cannot_be_an_objective(make, metric):
    for fidelity in ("features", "full"):
        with pytest.raises(ConfigError, match="on test identities"):
            make(fidelity=fidelity, objectives={fidelity: [{"metric": metric}]})


def test_an_objective_of_the_other_fidelity_or_unknown_is_refused(make):
    with pytest.raises(ConfigError, match="other fidelity"):
        make(objectives={"features": [{"metric": "validation_map"}]})
    with pytest.raises(ConfigError, match="unknown objective"):
        make(objectives={"features": [{"metric": "beauty"}]})
    with pytest.raises(ConfigError, match=r"objectives.full is missing"):
        make(fidelity="full", objectives={"features": [{"metric": "stability"}]})


def test_samplers_and_pruning_that_cannot_take_several_objectives_say_so(make):
    two = [{"metric": "validation_ari"}, {"metric": "clustering_seconds", "mode": "min"}]
    with pytest.raises(ConfigError, match="cmaes takes one"):
        make(objectives={"features": two}, sampler={"name": "cmaes"})
    both = [{"metric": "validation_map"}, {"metric": "clustering_seconds", "mode": "min"}]
    with pytest.raises(ConfigError, match="prune=false"):
        make(fidelity="full", objectives={"full": both})


def test_switch_epochs_span_the_epochs_that_differ(make):
    space = space_of(
        make(
            fidelity="full",
            space={"memory.united.switch_epoch": {"epochs": "all"}, "memory.intra.switch_epoch": {"epochs": "all"}},
        )
    )
    united, intra = (space.domains[f"memory.{name}.switch_epoch"] for name in ("united", "intra"))
    assert (united.low, united.high) == (4, 8)
    assert (intra.low, intra.high) == (1, 8)


def test_a_warm_start_leaves_no_epoch_to_search_before_it(make):
    warm = {"warm_start": "runs/stage1"}
    space = space_of(make(fidelity="full", full=warm, space={"memory.intra.switch_epoch": {"epochs": "all"}}))
    assert space.domains["memory.intra.switch_epoch"].low == 4
    with pytest.raises(ConfigError, match=r"without effect; its range here is \[4, 8\]"):
        space_of(make(fidelity="full", full=warm, space={"memory.intra.switch_epoch": {"int": [2, 6]}}))


def test_another_preset_drops_the_numbers_of_the_base_preset(make):
    base = base_config(make())
    changed = trial_config(base, {"clustering.preset": "kreciprocal", "clustering.k1": 20})
    assert (changed.clustering.k1, changed.clustering.k2, changed.clustering.k3) == (20, 6, None)
    same = trial_config(base, {"clustering.preset": "emcc"})
    assert same.clustering.k3 == 9


def test_presets_can_be_searched_with_conditional_ranges(make):
    space = space_of(
        make(
            space={
                "clustering.preset": {"categorical": ["emcc", "camera_aware"]},
                "clustering.k2": {"int": [2, 8], "when": {"clustering.preset": ["emcc"]}},
                "clustering.k3": {"int": [4, 20], "when": {"clustering.preset": ["emcc"]}},
                "clustering.k1_inter": {"int": [5, 20], "when": {"clustering.preset": ["camera_aware"]}},
            }
        )
    )
    for values in space.corners():
        assert ("clustering.k1_inter" in values) == (values["clustering.preset"] == "camera_aware")


def test_a_written_sweep_reads_back_alike(make, tmp_path):
    sweep = make(full={"warm_start": "runs/a"}, sampler={"name": "qmc"})
    (tmp_path / "again.yaml").write_text(sweep_text(sweep))
    assert load_sweep(tmp_path / "again.yaml") == sweep


def test_a_switch_before_the_warm_start_is_tried_as_its_first_epoch_and_left_alone_in_presets(make):
    sweep = make(
        fidelity="full", full={"warm_start": "runs/stage1"}, space={"memory.intra.switch_epoch": {"epochs": "united"}}
    )
    base = base_config(sweep)
    space = build_space(sweep, base)
    point = default_values(space, base)
    assert point == {"memory.intra.switch_epoch": 4}
    assert from_first_epoch(point, space, base) == {}
    assert from_first_epoch({"memory.intra.switch_epoch": 6}, space, base) == {"memory.intra.switch_epoch": 6}
