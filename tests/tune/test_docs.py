"""docs/tuning.md against the code."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

from tune.config import SweepConfig, load_sweep
from tune.objectives import choices

PAGE = Path("docs/tuning.md").read_text()
BLOCKS = re.findall(r"```\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS = [
    line.replace("[", "").replace("]", "").replace("MORE", "300")
    for block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("python -m tune.")
]


def test_the_sweep_file_of_the_page_is_read_and_shows_every_key(tmp_path):
    example = PAGE.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "sweep.yaml").write_text(example)
    assert load_sweep(tmp_path / "sweep.yaml").trials == 200
    assert set(yaml.safe_load(example)) == set(SweepConfig.model_fields)


def test_the_page_names_every_objective():
    names = {*choices("features"), *choices("full")}
    assert {name for name in names if f"`{name}`" not in PAGE} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_are_understood(command):
    _, _, module, *arguments = shlex.split(command)
    parsed = importlib.import_module(module).build_parser().parse_args(arguments)
    named = getattr(parsed, "config", None) or []
    files = [Path(file) for file in ([named] if isinstance(named, str | Path) else named)]
    # what a sweep wrote before is not there yet
    assert [file for file in files if file.parts[0] != "runs" and not file.is_file()] == []


def test_the_page_shows_commands():
    assert len(COMMANDS) >= 5


def test_the_files_that_the_page_names_exist():
    paths = re.findall(r"`((?:tune|configs|docs)/[\w./-]*)`", PAGE)
    assert len(paths) >= 7
    assert [path for path in paths if not Path(path).exists()] == []
