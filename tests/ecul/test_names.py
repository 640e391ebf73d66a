"""Lists of names are written once: each registry holds exactly the names of its Literal."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from ecul import names
from ecul.clustering.presets import _RECIPES as PRESETS
from ecul.data import layouts
from ecul.evaluation.ranking import RULES
from ecul.memory.update import update_memory
from ecul.models.backbone import build_model
from ecul.parameters import PRESET_DEFAULTS, Preset


def test_registries_hold_the_names_of_their_lists():
    assert set(PRESETS) == set(PRESET_DEFAULTS) == set(get_args(Preset))
    assert set(RULES) == set(get_args(names.RankingRule))
    assert list(layouts.LAYOUTS) == list(get_args(names.LayoutName))


def test_every_layout_file_is_named_and_every_record_bears_its_files_name():
    folder = Path(layouts.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "LAYOUT = Layout(" in path.read_text()}
    assert files == set(layouts.LAYOUTS)
    assert all(layout.name == name for name, layout in layouts.LAYOUTS.items())


@pytest.mark.parametrize("rule", [*get_args(names.FirstRule), "mean"])
def test_every_memory_rule_is_known(rule: str):
    row = torch.eye(2)[:1]
    options = {"momentum": 0.5, "generator": torch.Generator().manual_seed(0)}
    moved = update_memory(row, torch.eye(2)[1:], torch.tensor([0]), rule=rule, **options)
    np.testing.assert_allclose(moved.numpy(), [[0.5**0.5, 0.5**0.5]], rtol=1e-6)


@pytest.mark.parametrize("backbone", ["small"])
def test_backbones_are_built_by_name(backbone: names.Backbone):
    assert build_model(backbone).embedding_dim > 0
    with pytest.raises(ValueError, match=", ".join(get_args(names.Backbone))):
        build_model("vit")
