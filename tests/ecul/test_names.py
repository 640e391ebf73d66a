"""Lists of names are written once: each registry holds exactly the names of its Literal."""

from pathlib import Path
from typing import get_args

import pytest
import torch

from ecul import names
from ecul.clustering.presets import _RECIPES as PRESETS
from ecul.data import layouts
from ecul.data.synthetic.benchmarks import BENCHMARKS
from ecul.data.synthetic.plan import DRAWN_LAYOUTS
from ecul.evaluation.ranking import RULES
from ecul.memory.update import RULES as MEMORY_RULES
from ecul.memory.update import update_memory
from ecul.models.backbone import build_model
from ecul.parameters import PRESET_DEFAULTS, Preset


def test_registries_hold_the_names_of_their_lists():
    assert set(PRESETS) == set(PRESET_DEFAULTS) == set(get_args(Preset))
    assert set(RULES) <= set(layouts.LAYOUTS)
    assert set(MEMORY_RULES) == set(get_args(names.MemoryRule))
    assert set(DRAWN_LAYOUTS) <= set(layouts.LAYOUTS)
    assert set(BENCHMARKS) == set(get_args(names.Benchmark))
    assert list(layouts.LAYOUTS) == list(get_args(names.LayoutName))


def test_every_layout_file_is_named_and_every_record_bears_its_files_name():
    folder = Path(layouts.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "LAYOUT = Layout(" in path.read_text()}
    assert files == set(layouts.LAYOUTS)
    assert all(layout.name == name for name, layout in layouts.LAYOUTS.items())


def test_every_memory_rule_is_known_and_no_two_are_the_same():
    # the row is the first axis; seed 0 makes `random` take the second image, so that no rule moves as another one
    images = torch.tensor([[0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    moved = {}
    for rule in MEMORY_RULES:
        options = {"momentum": 0.5, "generator": torch.Generator().manual_seed(0)}
        row = update_memory(torch.eye(2)[:1], images, torch.zeros(3, dtype=torch.long), rule=rule, **options)
        moved[rule] = tuple(row[0].tolist())
    assert moved["hard"] == pytest.approx([0.5**0.5, 0.5**0.5], rel=1e-6)
    assert moved["random"] == pytest.approx([0.8**0.5, 0.2**0.5], rel=1e-6)
    assert len({tuple(round(x, 4) for x in row) for row in moved.values()}) == len(MEMORY_RULES)


@pytest.mark.parametrize("backbone", ["small"])
def test_backbones_are_built_by_name(backbone: names.Backbone):
    assert build_model(backbone).embedding_dim > 0
    with pytest.raises(ValueError, match=", ".join(get_args(names.Backbone))):
        build_model("vit")
