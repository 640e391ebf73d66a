"""What a confirmation trains: candidates, pairs, shared stages, and runs that are known again."""

import json

import pytest

from ecul.settings import config_tree
from tune.plan import make_plan, write_plan
from tune.study.confirmation import (
    acts_only_in_stage_two,
    choose_candidates,
    confirmed_metric,
    disk_of,
    fresh_seeds,
    make_runs,
    read_confirmation,
    write_confirmation,
)
from tune.study.record import METRICS, VALUES
from tune.sweep import prepare_study
from tune.trials.settings import trial_config

UNITED, SHARED = "clustering.united.eps", "clustering.intra.eps"
SPACE = {UNITED: {"float": [0.3, 0.8]}, SHARED: {"float": [0.3, 0.8]}, "seed": {"int": [0, 9]}}


@pytest.fixture
def searched(make_sweep, tmp_path):
    """A function from (point, score) pairs to the plan and the study of a sweep that has tried them; the base is .5."""

    def search(*points, **changes):
        options = {"fidelity": "full", "space": SPACE, "constraints": [], "trials": len(points), **changes}
        plan = make_plan(make_sweep(**options), tmp_path / "s", local=True)
        write_plan(plan)
        study = prepare_study(plan)
        base = {UNITED: 0.5, SHARED: 0.5, "seed": 0}
        for point, score in points:
            trial = study.ask()
            trial.set_user_attr(VALUES, {**base, **point})
            trial.set_user_attr(METRICS, {"validation_map": score})
            study.tell(trial, score)
        return plan, study

    return search


def candidates_of(plan, study, top=3):
    return choose_candidates(study, plan.space, plan.base, top=top)


def test_candidates_differ_from_the_base_and_from_each_other_in_more_than_the_seed(searched):
    good, again, better = ({UNITED: 0.4}, 0.3), ({UNITED: 0.4, "seed": 3}, 0.35), ({UNITED: 0.7}, 0.4)
    plan, study = searched(({}, 0.9), good, again, better, ({"seed": 4}, 0.8), ({UNITED: 0.6}, 0.1))
    chosen = candidates_of(plan, study, top=2)
    assert [item.trial for item in chosen] == [3, 2]
    assert [item.values[UNITED] for item in chosen] == [0.7, 0.4]
    assert all("seed" not in item.values for item in chosen)
    assert [item.trial for item in candidates_of(plan, study, top=9)] == [3, 2, 5]


def test_less_is_better_where_the_objective_says_so(searched):
    goal = {"full": [{"metric": "validation_map", "mode": "min"}]}
    plan, study = searched(({UNITED: 0.4}, 0.3), ({UNITED: 0.7}, 0.2), objectives=goal)
    assert [item.trial for item in candidates_of(plan, study)] == [1, 0]


def test_a_point_beyond_a_limit_is_no_candidate(searched):
    plan, study = searched(({UNITED: 0.4}, 0.3))
    trial = study.ask()
    trial.set_user_attr(VALUES, {UNITED: 0.7, SHARED: 0.5, "seed": 0})
    trial.set_user_attr(METRICS, {"validation_map": 0.9})
    trial.set_constraint("noise_share <= 0.5", 0.1)
    study.tell(trial, 0.9)
    assert [item.trial for item in candidates_of(plan, study)] == [0]


def test_pairs_share_their_seed_which_no_trial_had_and_all_else_but_the_point(searched):
    plan, study = searched(({UNITED: 0.4, SHARED: 0.6}, 0.3), set={"seed": 7})
    seeds = fresh_seeds(plan.base, 2)
    assert seeds == [8, 9]
    starts, runs = make_runs(candidates_of(plan, study), plan.original, plan.base, seeds, plan.folder)
    assert starts == []  # the candidate changes stage 1
    assert [(run.variant, run.config.seed) for run in runs] == [("base", 8), ("trial0", 8), ("base", 9), ("trial0", 9)]
    base, candidate = runs[0].config, runs[1].config
    assert trial_config(base, {UNITED: 0.4, SHARED: 0.6}) == candidate
    assert (base.data.hold_out_validation, base.evaluation.split, base.warm_start) == (True, "validation", None)


def test_stage_one_is_trained_once_a_seed_where_no_candidate_changes_it(searched):
    plan, study = searched(({UNITED: 0.4}, 0.3), ({UNITED: 0.7}, 0.2))
    starts, runs = make_runs(candidates_of(plan, study), plan.original, plan.base, [1, 2], plan.folder)
    assert [(start.config.seed, start.config.num_epochs) for start in starts] == [(1, 1), (2, 1)]
    assert {(run.config.seed, run.config.warm_start) for run in runs} == {
        (start.config.seed, str(plan.folder / start.key)) for start in starts
    }


def test_a_run_is_known_again_by_its_whole_configuration_wherever_the_sweep_lies(searched, tmp_path):
    plan, study = searched(({UNITED: 0.4}, 0.3))
    chosen = candidates_of(plan, study)

    def keys(base=plan.base, folder=plan.folder):
        return [run.key for group in make_runs(chosen, plan.original, base, [1, 2], folder) for run in group]

    assert keys() == keys(folder=tmp_path / "moved")
    other = trial_config(plan.base, {"loss.temperature": 0.07})
    assert not set(keys()) & set(keys(base=other))


def test_a_warm_start_of_the_users_own_is_kept_and_the_sweeps_is_not(searched):
    plan, study = searched(({UNITED: 0.4}, 0.3))
    own = trial_config(plan.original, {"warm_start": "/own"})
    of_sweep = trial_config(plan.base, {"warm_start": "/sweeps"})
    chosen = candidates_of(plan, study)
    starts, runs = make_runs(chosen, own, of_sweep, [1], plan.folder)
    assert (starts, {run.config.warm_start for run in runs}) == ([], {"/own"})
    starts, _ = make_runs(chosen, plan.original, of_sweep, [1], plan.folder)
    assert starts[0].config.warm_start is None


def test_scores_are_those_of_complete_runs_and_what_failed_is_not_waited_for(searched):
    plan, study = searched(({UNITED: 0.4, SHARED: 0.6}, 0.3))
    chosen = candidates_of(plan, study)
    _, runs = make_runs(chosen, plan.original, plan.base, [1, 2], plan.folder)
    assert read_confirmation(plan.folder) is None
    write_confirmation(plan.folder, chosen, runs, target=confirmed_metric(plan.sweep), top=3)
    disk = disk_of(plan.folder)
    found = read_confirmation(plan.folder)
    assert (found.num_runs, found.num_open, found.num_complete) == (4, 4, 0)
    assert [item.values for item in found.candidates] == [item.values for item in chosen]
    run = disk.folder / runs[0].key
    run.mkdir(parents=True)
    lines = [{"epoch": 1, "evaluation/map": 0.1}, {"epoch": 2, "evaluation/map": 0.25}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_confirmation(plan.folder).scores["base"] == {}  # not at its end
    (run / "result.json").write_text("{}")
    disk.note(runs[1].key, "it broke")
    found = read_confirmation(plan.folder)
    assert found.scores == {"base": {1: 0.25}, "trial0": {}}
    assert (found.num_open, found.failed) == (2, {runs[1].key: "it broke"})
    disk.note(runs[1].key, "")
    assert read_confirmation(plan.folder).num_open == 3


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("clustering.united.k3", True),
        ("clustering.intra.eps", False),
        ("memory.united.switch_epoch", True),
        ("memory.intra.switch_epoch", False),
        ("loss.temperature", False),
    ],
)
def test_runs_share_stage_one_only_where_it_is_alike(path, expected):
    assert acts_only_in_stage_two(path) == expected


def test_a_configuration_that_the_search_changed_by_a_preset_is_another_stage_two_alone(searched):
    preset = "clustering.united.preset"
    space = {preset: {"categorical": ["emcc", "kreciprocal"]}}
    plan, study = searched(({preset: "kreciprocal"}, 0.3), space=space)
    starts, runs = make_runs(candidates_of(plan, study), plan.original, plan.base, [1], plan.folder)
    assert len(starts) == 1
    united = config_tree(runs[1].config)["clustering"]["united"]
    assert (united["preset"], united["k1"]) == ("kreciprocal", 30)
