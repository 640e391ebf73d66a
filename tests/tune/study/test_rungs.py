"""Which rungs can be trusted, and what is stopped at them."""

import json
import math
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from ray.tune.schedulers import TrialScheduler

from ecul.errors import ConfigError
from tune.plan import make_plan, write_plan
from tune.study.confirmation import (
    Candidate,
    confirmed_metric,
    disk_of,
    make_runs,
    read_confirmation,
    write_confirmation,
)
from tune.study.pruning import RungScheduler
from tune.study.record import KEY
from tune.study.rungs import NO_EARLIER, Earlier, Rung, earlier_sweep, judge_rungs, noise_at, note_rungs, rung_epochs
from tune.sweep import make_scheduler, prepare_study

LAST = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


def add(study, values, state=TrialState.COMPLETE, key=None):
    """Adds a closed trial with {epoch: value}."""
    attributes = {} if key is None else {KEY: key}
    final = values[max(values)] if state == TrialState.COMPLETE else None
    trial = create_trial(state=state, value=final, intermediate_values=values, user_attrs=attributes)
    study.add_trial(trial)


def fill(study, early, last=LAST, *, first=0):
    """Adds complete trials with their values 2 epochs after the first one and 6 epochs after it."""
    for one, other in zip(early, last, strict=True):
        add(study, {first + 2: one, first + 4: 0.0, first + 6: other})


@pytest.fixture
def study():
    made = optuna.create_study(direction="maximize")
    note_rungs(made, [2, 4], first_epoch=0)
    return made


@pytest.mark.parametrize(
    ("grace", "factor", "longest", "expected"),
    [(2, 2, 20, [2, 4, 8, 16]), (4, 2, 8, [4]), (3, 3, 3, []), (1, 3, 9, [1, 3])],
)
def test_rungs_are_those_of_successive_halving_before_the_end(grace, factor, longest, expected):
    assert rung_epochs(grace, factor, longest) == expected


def test_a_rung_is_trusted_by_the_ranks_of_enough_complete_trials(study):
    fill(study, LAST[:7], LAST[:7])
    assert [(rung.trials, rung.is_trusted) for rung in judge_rungs(study)] == [(7, False), (7, False)]
    fill(study, [0.9], [0.9])
    add(study, {2: 0.0}, TrialState.PRUNED)
    good, flat = judge_rungs(study)
    assert (good.epochs, good.spearman, good.trials, good.is_trusted) == (2, pytest.approx(1), 8, True)
    assert good.interval[0] > 0.9
    assert math.isnan(flat.spearman)
    assert not flat.is_trusted


def test_ranks_by_hand(study):
    # eight ranks that differ by 1: 1 - 6 * 8 / (8 * 63)
    fill(study, [0.2, 0.1, 0.4, 0.3, 0.6, 0.5, 0.8, 0.7])
    assert judge_rungs(study)[0].spearman == pytest.approx(1 - 6 * 8 / 504)
    fill(study, LAST[::-1])
    assert judge_rungs(study)[0].spearman < 0.5


def test_rungs_are_counted_from_the_first_epoch_of_a_trial_and_use_the_next_evaluated_one():
    study = optuna.create_study(direction="maximize")
    note_rungs(study, [1], first_epoch=5)
    fill(study, LAST, first=5)
    assert judge_rungs(study)[0].trials == 8
    ends_there = optuna.create_study(direction="maximize")
    note_rungs(ends_there, [1], first_epoch=0)
    for value in LAST:
        add(ends_there, {3: value})  # the value at the rung is the last one: it says nothing
    assert judge_rungs(ends_there)[0].trials == 0


def test_a_study_without_rungs_has_none_to_judge():
    assert judge_rungs(optuna.create_study()) == []


class Session:
    """A scheduler at work: `tell` is an evaluated epoch of a trial."""

    def __init__(self, study, *, earlier=None, noise=None, mode="max"):
        earlier = earlier or NO_EARLIER
        self.scheduler = RungScheduler(
            study, epochs=[2, 4], metric="m", mode=mode, time="t", factor=2, earlier=earlier, noise=noise
        )

    def tell(self, name, epoch, value):
        trial = SimpleNamespace(trial_id=name, config={"key": name})
        return self.scheduler.on_trial_result(None, trial, {"t": epoch, "m": value})


def trusted(epochs):
    return Rung(epochs=epochs, spearman=0.8, interval=(0.5, 0.9), trials=20)


def test_weak_trials_are_stopped_at_trusted_rungs_alone(study):
    fill(study, LAST)
    session = Session(study)
    assert session.tell("a", 1, 0.0) == CONTINUE  # no rung yet
    assert session.tell("a", 2, 0.44) == STOP  # the median of the others is .45
    assert session.tell("b", 2, 0.46) == CONTINUE
    assert session.tell("b", 3, 0.0) == CONTINUE  # judged once a rung
    assert session.tell("b", 4, -1.0) == CONTINUE  # there all others have the same value, which tells nothing
    blind = optuna.create_study(direction="maximize")
    note_rungs(blind, [2, 4], first_epoch=0)
    fill(blind, [0.2, 0.8, 0.4, 0.6, 0.3, 0.7, 0.1, 0.5])
    assert Session(blind).tell("a", 2, 0.0) == CONTINUE


def test_what_is_within_the_noise_is_not_stopped(study):
    fill(study, LAST)
    session = Session(study, noise=0.05)
    assert session.tell("a", 2, 0.41) == CONTINUE
    assert session.tell("b", 2, 0.39) == STOP
    known = Earlier(rungs={}, noise={2: 0.05})
    assert Session(study, earlier=known).tell("a", 2, 0.41) == CONTINUE
    assert Session(study, earlier=known, noise=0.0).tell("a", 2, 0.41) == STOP


def test_an_earlier_sweep_lets_stop_before_this_one_could_tell(study):
    add(study, {2: 0.5}, TrialState.RUNNING)
    assert Session(study).tell("a", 2, 0.1) == CONTINUE
    assert Session(study, earlier=Earlier(rungs={2: trusted(2)}, noise={})).tell("a", 2, 0.1) == STOP
    fill(study, LAST)
    blind = Rung(epochs=2, spearman=0.1, interval=(-0.5, 0.6), trials=20)
    assert Session(study, earlier=Earlier(rungs={2: blind}, noise={})).tell("b", 2, 0.1) == CONTINUE


def test_less_is_better_where_the_mode_says_so(study):
    fill(study, LAST)
    session = Session(study, mode="min")
    assert (session.tell("a", 2, 0.46), session.tell("b", 2, 0.44)) == (STOP, CONTINUE)


def test_a_trial_is_not_held_against_an_entry_of_its_own(study):
    add(study, {2: 0.9}, TrialState.PRUNED, key="a")
    session = Session(study, earlier=Earlier(rungs={2: trusted(2)}, noise={}))
    assert session.tell("a", 2, 0.1) == CONTINUE
    assert session.tell("b", 2, 0.1) == STOP


@pytest.fixture
def earlier(make_sweep, tmp_path):
    """The plan of a finished full sweep `before` with eight trials and a confirmation of one candidate."""
    lengths = {"stages.intra": 1, "stages.united": 5}
    space = {"clustering.united.eps": {"float": [0.3, 0.8]}}
    sweep = make_sweep(fidelity="full", space=space, constraints=[], set=lengths)
    plan = make_plan(sweep, tmp_path / "before", local=True)
    write_plan(plan)
    study = prepare_study(plan)
    for trial in study.trials:
        study.ask()
        study.tell(trial.number, state=TrialState.FAIL)
    fill(study, LAST)
    candidate = Candidate(trial=1, values={"clustering.united.eps": 0.4})
    _, runs = make_runs([candidate], plan.original, plan.base, [1, 2], plan.folder)
    write_confirmation(plan.folder, [candidate], runs, target=confirmed_metric(plan.sweep), top=1)
    for number, run in enumerate(runs):
        folder = disk_of(plan.folder).folder / run.key
        folder.mkdir(parents=True)
        lines = [{"epoch": 2, "evaluation/map": number / 10}, {"epoch": 6, "evaluation/map": 0.5}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "result.json").write_text("{}")
    return plan


def test_the_noise_is_the_spread_between_seeds_at_the_epoch(earlier):
    found = read_confirmation(earlier.folder)
    # base 0 and .2, candidate .1 and .3: each has a standard deviation of .1 * sqrt(2)
    assert noise_at(found, disk_of(earlier.folder), 1) == pytest.approx(0.1 * math.sqrt(2))
    assert noise_at(found, disk_of(earlier.folder), 3) == 0
    assert math.isnan(noise_at(found, disk_of(earlier.folder), 7))


def test_an_earlier_sweep_is_named_by_its_settings(earlier, make_sweep, tmp_path):
    space = {"clustering.united.eps": {"float": [0.3, 0.8]}}
    options = {"fidelity": "full", "space": space, "constraints": [], "set": {"stages.intra": 1, "stages.united": 5}}
    full = {"prune": "auto", "rungs_from": "before", "grace_epochs": 2}
    plan = make_plan(make_sweep(**options, full=full), tmp_path / "now", local=True)
    assert plan.rungs == [2, 4]
    assert plan.earlier.rungs[2].is_trusted
    assert not plan.earlier.rungs[4].is_trusted
    assert plan.earlier.noise[2] == pytest.approx(0.1 * math.sqrt(2))
    assert isinstance(make_scheduler(plan, prepare_study(plan)), RungScheduler)
    with pytest.raises(ConfigError, match=r"full.rungs_from: no sweep"):
        make_plan(make_sweep(**options, full={**full, "rungs_from": "none"}), tmp_path / "now", local=True)
    with pytest.raises(ConfigError, match="expected fidelity full for validation_rank1"):
        earlier_sweep(earlier.folder, [2], "validation_rank1")
    with pytest.raises(ConfigError, match=r"full.rungs_from and full.noise are of full.prune=auto"):
        make_sweep(**options, full={"rungs_from": "before"})
