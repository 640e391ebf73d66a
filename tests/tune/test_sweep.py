"""What a sweep hands to Ray Tune, without Ray's cluster."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from tune import sweep as sweep_module
from tune.plan import make_plan
from tune.sweep import make_scheduler, prepare_study
from tune.trials.full import TRAINED_EPOCHS
from tune.trials.result import result_key


@pytest.mark.parametrize(
    "lengths",
    [
        {"stages.united": {"int": [2, 9]}},
        {"stages.united": {"categorical": [9, 2]}},
        {"stages.united": {"int": [2, 7]}, "stages.intra": {"int": [1, 3]}},
    ],
)
def test_pruning_lets_the_longest_trial_of_the_space_train_to_its_end(make_sweep, tmp_path, lengths):
    sweep = make_sweep(fidelity="full", space=lengths, constraints=[], set={"stages.intra": 1, "stages.united": 2})
    plan = make_plan(sweep, tmp_path / "s", local=True)
    assert (plan.base.num_epochs, plan.epochs_per_trial) == (3, 10)
    scheduler = make_scheduler(plan, prepare_study(plan))
    assert isinstance(scheduler, ASHAScheduler)
    scheduler.set_search_properties(None, None)
    trial = SimpleNamespace(trial_id="t")
    scheduler.on_trial_add(None, trial)
    actions = [
        scheduler.on_trial_result(None, trial, {TRAINED_EPOCHS: epoch, result_key("validation_map"): epoch / 20})
        for epoch in range(1, 11)
    ]
    assert actions == [TrialScheduler.CONTINUE] * 9 + [TrialScheduler.STOP]


def test_switch_epochs_cover_the_longest_and_the_shortest_trial(make_sweep, tmp_path):
    space = {"stages.united": {"int": [2, 9]}, "memory.united.switch_epoch": {"epochs": "united"}}
    sweep = make_sweep(fidelity="full", space=space, constraints=[], set={"stages.intra": 1, "stages.united": 2})
    domain = make_plan(sweep, tmp_path / "s", local=True).space.domains["memory.united.switch_epoch"]
    assert (domain.low, domain.high) == (2, 11)


def test_rays_own_error_on_trials_that_are_queued_again_is_not_shown():
    ray_tune = logging.getLogger("ray.tune.tune")
    with sweep_module._quiet():
        assert not ray_tune.isEnabledFor(logging.ERROR)
    assert ray_tune.isEnabledFor(logging.ERROR)


def test_a_sweep_over_a_saved_bank_waits_for_no_torch():
    modules = "tune.plan, tune.confirm, tune.sweep, tune.tracking, tune.trials.features"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules and 'torch was imported')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
