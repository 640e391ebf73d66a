"""The table of a repetition: values worked by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecul.config import Config
from ecul.report.stored import StoredReport
from tune.report.repeat_page import stored_report
from tune.report.repeats import (
    Outcome,
    difference_rows,
    latex_table,
    read_outcomes,
    report_text,
    spread,
    summary_rows,
)
from tune.trials.grid import RepeatedRun

MAPS = {("base", 0): 0.4, ("base", 1): 0.5, ("other", 0): 0.44, ("other", 1): 0.58, ("other", 2): 0.1}


@pytest.fixture
def runs(tiny_config: Callable[..., Config]) -> list[RepeatedRun]:
    return [
        RepeatedRun(key=f"{name}-{seed}", variant=name, values={"seed": seed}, config=tiny_config({"seed": seed}))
        for name, seed in [*MAPS, ("base", 2)]
    ]


@pytest.fixture
def folder(runs: list[RepeatedRun], tmp_path: Path) -> Path:
    """Run directories of all but the last run, with two protocols."""
    for run in runs[:-1]:
        value = MAPS[run.variant, run.values["seed"]]
        scores = {"rank1": value + 0.1, "map": value, "minp": value - 0.1}
        (tmp_path / run.key).mkdir()
        result = {"protocols": {name: {"mean": scores} for name in ("there_ir", "back_ir")}}
        (tmp_path / run.key / "result.json").write_text(json.dumps(result))
        records = [
            {"epoch": 1, "seconds/train": 2.0},
            {"epoch": 2, "seconds/train": 3.0, "quality/united_cross_recall": 0.25, "united/clusters": 7.0},
        ]
        (tmp_path / run.key / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path


def test_means_and_sample_deviations_in_percent():
    assert spread([0.4, 0.5]) == "45.0 ± 7.1"
    assert spread([0.4]) == "40.0"
    assert spread([0.02, -0.01], sign=True) == "+0.5 ± 2.1"
    assert spread([float("nan")]) == "-"


def test_a_row_for_each_variant_and_differences_over_equal_values_only(runs, folder):
    outcomes = read_outcomes(runs, folder)
    assert len(outcomes) == 5
    columns, rows = summary_rows(outcomes, "there_ir")
    assert columns == ["", "Rank-1", "mAP", "mINP", "link recall", "united clusters", "seconds", "runs"]
    assert rows[0] == ["base", "55.0 ± 7.1", "45.0 ± 7.1", "35.0 ± 7.1", "25.0 ± 0.0", "7.0 ± 0.0", "5", "2"]
    # other's run with seed 2 has no partner: (.44 - .40, .58 - .50) alone
    assert difference_rows(outcomes, "there_ir", base="base") == [
        ["other", "+6.0 ± 2.8", "+6.0 ± 2.8", "+6.0 ± 2.8", "2"]
    ]


def test_differences_are_to_the_base_whichever_run_ended_first(runs, folder):
    outcomes = read_outcomes(runs, folder)
    only_other = [outcome for outcome in outcomes if outcome.run.variant == "other"]
    assert difference_rows(only_other, "there_ir", base="base") == []
    assert difference_rows(outcomes[::-1], "there_ir", base="base")[0][0] == "other"


def page_of(outcomes: list[Outcome], folder: Path, **changes: Any) -> StoredReport:
    options = {"base": "base", "trials": "trials", "title": "T", "num_runs": 6, "failed": {"base-2": "no data"}}
    return stored_report(outcomes, folder, **options | changes)


def test_the_page_has_tables_a_picture_of_each_protocol_what_failed_and_the_runs(runs, folder):
    outcomes = read_outcomes(runs, folder)
    stored = page_of(outcomes, folder)
    assert [part.title for part in stored.parts] == ["there_ir", "back_ir", "Failed"]
    assert [table.caption.partition(",")[0] for table in stored.parts[0].tables] == [
        "Means and spreads",
        "Paired differences to base",
    ]
    assert len(stored.parts[0].tables[0].rows) == 2
    assert stored.parts[2].tables[0].rows == (("base-2", "no data"),)
    assert "base 45.0 ± 7.1; other 37.3 ± 24.7" in stored.parts[0].pictures[0].alt
    assert (folder / "report" / stored.parts[0].pictures[0].file).is_file()
    assert stored.subtitle == "5 of 6 runs complete, 1 failed"
    assert stored.runs == tuple(f"trials/{outcome.run.key}" for outcome in outcomes)


def test_of_many_runs_the_page_shows_those_of_the_base(runs, folder):
    outcomes = read_outcomes(runs, folder) * 3
    stored = page_of(outcomes, folder, failed={})
    assert {run.partition("-")[0] for run in stored.runs} == {"trials/base"}
    assert "details of 6 runs of base only" in stored.subtitle
    assert [part.title for part in stored.parts] == ["there_ir", "back_ir"]


def test_the_report_shows_both_directions_every_run_and_what_failed(runs, folder):
    text = report_text(read_outcomes(runs, folder), base="base", num_runs=6, failed={"base-2": "no data"}, title="T")
    assert "5 of 6 runs complete, 1 failed." in text
    assert text.index("## there_ir") < text.index("## back_ir") < text.index("## Runs") < text.index("## Failed")
    assert "| other-2 | seed=2 " in text
    assert "- base-2: no data" in text
    assert "oracle" not in text


def test_the_latex_table_is_a_tabular_of_each_protocol(runs, folder):
    text = latex_table(read_outcomes(runs, folder))
    assert text.count(r"\begin{tabular}{lccc}") == text.count(r"\end{tabular}") == 2
    assert r"there\_ir & Rank-1 & mAP & mINP \\" in text
    assert r"base & $55.0 \pm 7.1$ & $45.0 \pm 7.1$ & $35.0 \pm 7.1$ \\" in text


def test_nothing_complete_is_no_error(runs, tmp_path):
    text = report_text(read_outcomes(runs, tmp_path), base="base", num_runs=6, failed={}, title="T")
    assert "0 of 6 runs complete" in text
    assert latex_table([]) == ""
