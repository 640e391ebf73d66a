import subprocess
import sys
from pathlib import Path

import pytest

from ecul.settings import load_config
from tests.tune.conftest import base_of
from tune import results, run
from tune.config import load_sweep
from tune.plan import make_plan, write_plan
from tune.space.build import build_space, check_corners
from tune.study.record import METRICS, VALUES
from tune.sweep import prepare_study

SHIPPED = sorted(path.stem for path in Path("configs/tune").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_sweeps_make_checked_spaces(name):
    sweep = load_sweep(f"configs/tune/{name}.yaml")
    space = build_space(sweep, base_of(sweep))
    check_corners(space, base_of(sweep))
    assert space.domains


def test_the_shipped_sweep_works_at_both_fidelities():
    sweep = load_sweep("configs/tune/emcc.yaml", {"fidelity": "full"})
    assert "memory.united.switch_epoch" in build_space(sweep, base_of(sweep)).domains


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --config FILE"),
        (["--config", "none.yaml"], "cannot read sweep"),
        (["--config", "configs/tune/emcc.yaml", "--name", "a/b"], "a name has up to 80 letters"),
        (["--resume", "nothing"], "no sweep"),
        (["--resume", "nothing", "--fidelity", "full"], "leave out --fidelity"),
        (["--config", "configs/tune/emcc.yaml", "--retry-failed"], "--retry-failed needs --resume"),
        (["--config", "configs/tune/emcc.yaml"], "needs --bank"),
        (["--config", "configs/tune/emcc.yaml", "--bank", "none.npz"], "no feature bank"),
        (["--config", "configs/tune/emcc.yaml", "--fidelity", "full", "--warm-start", "none"], "neither a checkpoint"),
        (
            ["--config", "configs/tune/emcc.yaml", "--set", "objectives.features=[{metric: test_map}]"],
            "test identities",
        ),
        (
            ["--config", "configs/tune/emcc.yaml", "--fidelity", "full", "--set", "set={data.root: gone}"],
            "no dataset folder",
        ),
        (["--config", "configs/tune/emcc.yaml", "--tracker", "mlflow"], "tracker"),
        (["--config", "configs/tune/emcc.yaml", "--set", "confirm={seeds: 1}"], "confirm.seeds"),
    ],
)
def test_what_cannot_work_is_said_in_one_line_before_ray_starts(arguments, message, tmp_path, capsys):
    assert run.main([*arguments, "--storage", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "option", [("--concurrency", "0"), ("--concurrency", "1.5"), ("--concurrency", "many"), ("--max-hours", "-1")]
)
def test_numbers_of_options_are_checked(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        run.main(["--config", "configs/tune/emcc.yaml", *option])
    error = capsys.readouterr().err
    assert option[0] in error
    assert len(error.strip().splitlines()) == 1


@pytest.fixture
def closed_sweep(make_sweep, tmp_path):
    """The folder of a sweep with 30 closed trials, which are better the larger eps is."""
    plan = make_plan(make_sweep(trials=30), tmp_path / "closed", local=True)
    write_plan(plan)
    study = prepare_study(plan)
    for _ in range(30):
        trial = study.ask()
        values = plan.space.sample(trial)
        trial.set_user_attr(VALUES, values)
        trial.set_user_attr(METRICS, {"validation_cross_modality_f1": values["clustering.united.eps"]})
        study.tell(trial, values["clustering.united.eps"])
    return plan.folder


def test_results_are_shown_without_ray_and_the_best_point_runs(closed_sweep):
    code = (
        "import sys; from tune.results import main; "
        f"code = main(['closed', '--storage', {str(closed_sweep.parent)!r}, '--top', '3']); "
        "sys.exit(code or ('ray' in sys.modules and 'Ray was imported'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "30 trials: 30 complete" in done.stdout
    assert {"report.md", "best.yaml", "history.png"} <= {path.name for path in (closed_sweep / "report").iterdir()}
    best = load_config(closed_sweep / "report" / "best.yaml")
    assert best.clustering.united.eps > 0.7
    assert best.evaluation.split == "test"
    assert "not confirmed" in (closed_sweep / "report" / "best.yaml").read_text().splitlines()[0]


def test_a_report_may_be_piped_into_head(closed_sweep):
    command = f"{sys.executable} -m tune.results closed --storage {closed_sweep.parent} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "# Sweep closed (features)\n")
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_results_of_no_sweep_are_refused(tmp_path, capsys):
    assert results.main(["x", "--storage", str(tmp_path)]) == 2
    assert "no sweep" in capsys.readouterr().err
