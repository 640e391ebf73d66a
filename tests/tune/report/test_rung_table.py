from tests.tune.report.conftest import SCORE
from tune.report.analysis import Findings
from tune.report.markdown import report_text
from tune.report.page import stored_report
from tune.study.rungs import Rung

NAN = float("nan")
RUNGS = [
    Rung(epochs=4, spearman=0.21, interval=(-0.4, 0.7), trials=12),
    Rung(epochs=8, spearman=0.62, interval=(0.1, 0.88), trials=12),
    Rung(epochs=16, spearman=NAN, interval=(NAN, NAN), trials=1),
]


def test_the_report_says_at_which_rungs_early_values_tell():
    findings = Findings(objectives=[SCORE], rows=[], ranked=[], rungs=RUNGS)
    text = report_text(findings, title="x")
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert [cell.strip() for cell in lines["4"].split("|")[2:-1]] == ["+0.210", "[-0.40, +0.70]", "12", "no"]
    assert lines["8"].rstrip(" |").endswith("yes")
    assert [cell.strip() for cell in lines["16"].split("|")[2:-1]] == ["-", "-", "1", "no"]
    (part,) = [
        part for part in stored_report(findings, [], title="x", best_config=False).parts if part.title == "Rungs"
    ]
    assert len(part.tables[0].rows) == 3


def test_a_sweep_without_rungs_has_no_such_table():
    findings = Findings(objectives=[SCORE], rows=[], ranked=[])
    assert "Rungs" not in report_text(findings, title="x")
