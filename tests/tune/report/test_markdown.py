import optuna
import yaml

from ecul.config import Config
from ecul.settings import parse_config
from tests.tune.report.conftest import SCORE, SPACE
from tune.report.analysis import analyse
from tune.report.markdown import best_yaml, report_text, trials_columns, trials_rows


def test_few_trials_say_nothing_of_a_signal_and_those_stopped_early_are_shown(study):
    few = optuna.create_study(directions=["maximize"])
    for trial in study.trials[:6]:
        few.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.COMPLETE if trial.number < 4 else optuna.trial.TrialState.PRUNED,
                value=trial.values[0],
                user_attrs=trial.user_attrs,
            )
        )
    text = report_text(analyse(few, SPACE, [SCORE]), title="Sweep x")
    assert "6 trials: 4 complete, 2 stopped early" in text
    assert "Too few complete trials to tell: 4." in text
    assert "| PRUNED |" in text


def test_the_report_names_the_best_and_the_broken(study):
    findings = analyse(study, SPACE, [SCORE])
    text = report_text(findings, title="Sweep x", top=3)
    assert "30 trials: 29 complete, 1 failed" in text
    assert "a broken trial" in text
    assert "rank correlation" in text
    assert "by PED-ANOVA. Only some trials have clustering.united.k3." in text
    assert "| tied for it" in text
    assert text.count("COMPLETE") == 3


def test_tables_hold_a_row_a_trial(study):
    findings = analyse(study, SPACE, [SCORE])
    rows = trials_rows(findings, findings.rows)
    assert len(rows) == 30
    assert all(len(row) == len(trials_columns(findings)) for row in rows)


def test_the_best_point_is_a_configuration_that_runs(tiny_config):
    text = best_yaml(tiny_config(), {"clustering.united.k3": 8, "memory.united.switch_epoch": 2}, origin="sweep x")
    config = parse_config(yaml.safe_load(text))
    assert isinstance(config, Config)
    assert (config.clustering.united.k3, config.memory.united.switch_epoch) == (8, 2)
    assert config.evaluation.split == "test"
