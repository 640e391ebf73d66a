"""The confirmation step, with trainings that only write down what they scored."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster import environment
from ecul.settings import load_config
from tests.tune.conftest import base_of
from tune import compare
from tune import confirm as confirm_module
from tune.confirm import confirm_plan, open_runs
from tune.folder import read_sweep
from tune.plan import make_plan, write_plan
from tune.report.write import write_report
from tune.study.record import METRICS, VALUES
from tune.sweep import prepare_study

EPS = "clustering.united.eps"


class Trainer:
    """Stands for the cluster: a run scores what a function of its configuration says; some fail, or are never begun."""

    def __init__(self, score: Callable[[Any], float]) -> None:
        self.score = score
        self.fails: set[str] = set()
        self.most: int | None = None
        self.trained: list[str] = []

    def __call__(self, runs: Any, disk: Any, **options: Any) -> None:
        for run in disk.missing(runs):
            if self.most is not None and len(self.trained) >= self.most:
                raise KeyboardInterrupt
            self.trained.append(run.key)
            if any(part in run.key for part in self.fails):
                disk.note(run.key, "it broke")
                continue
            (disk.folder / run.key).mkdir(parents=True)
            line = json.dumps({"epoch": 3, "evaluation/map": self.score(run.config)})
            (disk.folder / run.key / "metrics.jsonl").write_text(line + "\n")
            (disk.folder / run.key / "result.json").write_text("{}")
            disk.note(run.key, "")


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    trainer = Trainer(lambda config: 0.3 + config.clustering.united.eps / 10 + config.seed / 1000)
    monkeypatch.setattr(confirm_module, "train_missing", trainer)
    return trainer


@pytest.fixture
def searched(make_sweep: Callable, tmp_path: Path) -> Callable[..., Any]:
    """A function from values of eps to the plan of a features sweep that found them good in this order."""

    def search(*found: float, **changes: Any) -> Any:
        options = {"trials": len(found), "confirm": {"top": 2, "seeds": 2}, **changes}
        plan = make_plan(make_sweep(**options), tmp_path / "s", local=True)
        write_plan(plan)
        study = prepare_study(plan)
        add_trials(plan, study, *found)
        return plan

    return search


def add_trials(plan: Any, study: Any, *found: float) -> None:
    before = len(study.trials)
    for number, eps in enumerate(found):
        trial = study.ask()
        values = {**plan.space.sample(trial), "clustering.united.k2": 3, "clustering.united.k3": 6, EPS: eps}
        trial.set_user_attr(VALUES, values)
        trial.set_user_attr(METRICS, {"validation_cross_modality_f1": 0.9 - (before + number) / 100})
        study.tell(trial, 0.9 - (before + number) / 100)


def first_line(folder: Path) -> str:
    return (folder / "report" / "report.md").read_text().splitlines()[0]


def best_eps(folder: Path) -> float:
    return load_config(folder / "report" / "best.yaml").clustering.united.eps


def test_a_candidate_that_wins_is_the_best_configuration_and_the_first_line_says_so(searched, trainer):
    plan = searched(0.4, 0.7, 0.6)  # the search likes .4 best; .7 trains best; .6 is not among the best two
    assert confirm_plan(plan) == 0
    assert len(trainer.trained) == 2 + 3 * 2  # stage 1 of each seed; the base and two candidates with two seeds
    report = write_report(plan.folder)
    assert report.text.splitlines()[0] == first_line(plan.folder)
    assert first_line(plan.folder).startswith("# Sweep s (features): trial 1 beats the base (validation_map +0.0200")
    assert "## Confirmation with other seeds" in report.text
    assert "trial 1 beats the base" in (plan.folder / "report" / "report.html").read_text()
    best = load_config(plan.folder / "report" / "best.yaml")
    assert (best.clustering.united.eps, best.seed, best.warm_start) == (0.7, 0, None)
    assert best.data.hold_out_validation is False


def test_where_nothing_wins_the_best_configuration_is_the_base(searched, trainer):
    plan = searched(0.4, 0.45)
    confirm_plan(plan)
    write_report(plan.folder)
    assert "nothing found beats the base (the best candidate, trial 1: validation_map -0.0050" in first_line(
        plan.folder
    )
    assert best_eps(plan.folder) == 0.5
    assert "nothing found beats the base" in (plan.folder / "report" / "report.html").read_text()
    comment = (plan.folder / "report" / "best.yaml").read_text().splitlines()[0]
    assert "nothing found beats the base" in comment


def test_an_interrupted_confirmation_goes_on_and_trains_nothing_twice(searched, trainer):
    plan = searched(0.4, 0.7)
    write_report(plan.folder)
    assert "not confirmed yet, so best.yaml is the base (the search comes first)" in first_line(plan.folder)
    trainer.most = 5
    assert confirm_plan(plan) == 3
    write_report(plan.folder)
    assert "3 of 6 trainings are complete" in first_line(plan.folder)
    assert best_eps(plan.folder) == 0.5
    trainer.most = None
    assert confirm_plan(plan) == 0
    assert len(trainer.trained) == len(set(trainer.trained)) == 8
    assert confirm_plan(plan) == 0
    assert len(trainer.trained) == 8


def test_more_trials_are_confirmed_anew_with_the_runs_that_are_still_needed(searched, trainer):
    plan = searched(0.4, 0.45, confirm={"top": 4, "seeds": 2})
    confirm_plan(plan)
    before = set(trainer.trained)
    add_trials(plan, prepare_study(plan), 0.7)
    write_report(plan.folder)
    assert "the search has found other candidates since" in first_line(plan.folder)
    assert open_runs(plan.folder) == 0
    confirm_plan(plan)
    assert len(trainer.trained) == len(before) + 2  # the new candidate's
    write_report(plan.folder)
    assert best_eps(plan.folder) == 0.7


def test_without_its_stage_one_a_run_has_failed_and_is_tried_again_with_it(searched, trainer):
    plan = searched(0.4, 0.7)
    trainer.fails = {"stage1-seed2"}
    assert confirm_plan(plan) == 0
    report = write_report(plan.folder)
    assert "its stage 1 failed: it broke" in report.text
    assert "nothing found beats the base (no candidate is complete" in first_line(plan.folder)
    trainer.fails = set()
    assert confirm_plan(plan) == 0
    write_report(plan.folder)
    assert "trial 1 beats the base" in first_line(plan.folder)
    assert "failed" not in (plan.folder / "report" / "report.md").read_text()


def test_a_search_that_found_only_the_base_has_nothing_to_train(searched, trainer):
    plan = searched(trials=1)
    study = prepare_study(plan)
    trial = study.ask()
    trial.set_user_attr(VALUES, plan.space.sample(trial))  # the base is the first point
    trial.set_user_attr(METRICS, {"validation_cross_modality_f1": 0.9})
    study.tell(trial, 0.9)
    assert confirm_plan(plan) == 0
    assert trainer.trained == []
    write_report(plan.folder)
    assert "nothing found beats the base (no other point was tried to the end)" in first_line(plan.folder)


def test_the_command_confirms_a_sweep_that_was_not_to_be_confirmed(searched, trainer, monkeypatch, capsys):
    plan = searched(0.4, 0.7, confirm=None)
    assert confirm_plan(plan) == 0
    assert trainer.trained == []
    monkeypatch.setattr(compare, "connect", lambda *arguments, **options: None)
    monkeypatch.setattr(compare, "hide_all_gpus", lambda: None)
    monkeypatch.setattr(environment, "prepare", lambda **options: None)
    command = ["s", "--storage", str(plan.folder.parent), "--top", "1", "--seeds", "2"]
    assert compare.main(command) == 0
    assert "nothing found beats the base" in capsys.readouterr().out.splitlines()[0]
    assert compare.main([*command[:-3], "2", "--seeds", "2"]) == 0
    assert "trial 1 beats the base" in capsys.readouterr().out.splitlines()[0]
    assert len(trainer.trained) == 2 + 3 * 2  # the base's and the first candidate's runs count for both
    # the sweep's own step and the command know each other's runs
    again = plan.sweep.updated({"confirm": {"top": 2, "seeds": 2}})
    resumed = make_plan(again.updated({"base": str(plan.folder / "base.yaml"), "set": {}}), plan.folder, local=True)
    assert confirm_plan(resumed) == 0
    assert len(trainer.trained) == 8


def test_what_cannot_be_compared_is_said_in_one_line(searched, tmp_path, capsys):
    plan = searched(0.4, confirm=None)
    for arguments, message in (
        (["none", "--storage", str(tmp_path)], "no sweep"),
        (["s", "--storage", str(plan.folder.parent), "--seeds", "1"], "seeds"),
        (["s", "--storage", str(plan.folder.parent), "--cluster", "none.yaml"], "none.yaml"),
    ):
        assert compare.main(arguments) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error


def test_the_plan_of_a_features_sweep_knows_the_cluster_of_its_confirmation(searched):
    assert searched(0.4).cluster is not None
    assert searched(0.4, confirm=None).cluster is None


def test_the_settings_survive_in_the_sweeps_folder(searched):
    plan = searched(0.4)
    stored = read_sweep(plan.folder)
    assert stored.confirm == plan.sweep.confirm
    assert base_of(stored) == plan.base


def test_a_picture_that_cannot_be_drawn_leaves_the_rest_of_the_report(searched, monkeypatch, caplog):
    def fails(*arguments):
        raise ZeroDivisionError("float division by zero")

    plan = searched(0.4, 0.45, confirm=None)
    monkeypatch.setattr("tune.report.write.draw_optuna", fails)
    report = write_report(plan.folder)
    assert caplog.messages == [
        f"no pictures: ZeroDivisionError('float division by zero'); {plan.folder}/report holds the rest"
    ]
    assert report.pictures
    assert report.page is not None
    monkeypatch.setattr("tune.report.write.write_page", fails)
    assert write_report(plan.folder).page is None
    assert (plan.folder / "report" / "best.yaml").is_file()
