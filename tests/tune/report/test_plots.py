import optuna

from tests.tune.report.conftest import COST, SCORE, SPACE
from tune.report.analysis import analyse
from tune.report.markdown import report_text
from tune.report.plots import draw_all


def test_pictures_are_drawn(study, tmp_path):
    findings = analyse(study, SPACE, [SCORE, COST])
    names = {path.stem for path in draw_all(findings, SPACE, tmp_path)}
    assert names == {"history", "parallel", "slices", "k2-k3", "front", "label-free"}
    assert all(path.stat().st_size > 5000 for path in tmp_path.iterdir())
    assert all((tmp_path / f"{name}.svg").is_file() for name in names)


def test_a_study_without_trials_has_an_empty_report(tmp_path):
    findings = analyse(optuna.create_study(direction="maximize"), SPACE, [SCORE])
    assert "0 trials: none" in report_text(findings, title="Sweep x")
    assert draw_all(findings, SPACE, tmp_path) == []
