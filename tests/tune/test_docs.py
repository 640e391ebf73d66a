"""docs/tuning.md against the code."""

from pathlib import Path

import yaml

from tune.config import SweepConfig, load_sweep
from tune.objectives import choices

PAGE = Path("docs/tuning.md").read_text()


def test_the_sweep_file_of_the_page_is_read_and_shows_every_key(tmp_path):
    example = PAGE.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "sweep.yaml").write_text(example)
    assert load_sweep(tmp_path / "sweep.yaml").trials == 200
    assert set(yaml.safe_load(example)) == set(SweepConfig.model_fields)


def test_the_page_names_every_objective():
    names = {*choices("features"), *choices("full")}
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
