"""The recipes of docs/extending.md run, and the files that they name exist."""

import ast
import re
from pathlib import Path

import pytest

from ecul.bench.clustering import simulated
from ecul.memory.update import KEYS, RULES
from ecul.parameters import PRESET_DEFAULTS, ClusteringParameters

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
RECIPES = {section.splitlines()[0]: section for section in PAGE.split("\n## ")[1:]}


def test_there_are_nine_recipes_and_each_has_code():
    assert len(RECIPES) == 9
    assert [title for title, text in RECIPES.items() if "```python" not in text] == []


@pytest.mark.parametrize("title", RECIPES)
def test_the_snippets_of_a_recipe_run(title: str, monkeypatch: pytest.MonkeyPatch):
    names: dict[str, object] = {"__name__": "recipe"}
    for code in re.findall(r"```python\n(.*?)```", RECIPES[title], re.DOTALL):
        exec(compile(code, f"docs/extending.md, {title}", "exec"), names)
        if "easy" in names:  # the page says to add it to the table
            monkeypatch.setitem(KEYS, "easy", names["easy"])
            monkeypatch.setattr("ecul.memory.update.RULES", (*RULES, "easy"))


@pytest.mark.parametrize("k2", [None, 12])
def test_the_unfiltered_preset_is_a_recipe(monkeypatch: pytest.MonkeyPatch, k2: int | None):
    row = re.findall(r'"(unfiltered)": ({.*})', RECIPES["A clustering preset"])
    assert len(row) == 1
    numbers = ast.literal_eval(row[0][1])
    monkeypatch.setitem(PRESET_DEFAULTS, "unfiltered", numbers)
    names: dict[str, object] = {"__name__": "recipe"}
    code = re.findall(r"```python\n(.*?)```", RECIPES["A clustering preset"], re.DOTALL)[0]
    exec(compile(code, "docs/extending.md", "exec"), names)
    recipe = names["unfiltered"](simulated(60, 8, "3", 0)[0], ClusteringParameters("unfiltered", k2=k2))
    assert recipe.filter_depth == 0
    assert set(recipe.full_depth) == {numbers["k1"]}
    assert set(recipe.fusion_depth) == {k2 or numbers["k2"]}


def test_named_files_exist():
    files = {
        name for name in re.findall(r"`((?:ecul|cluster|tune|tests)/[\w/]+(?:\.py)?)/?`", PAGE) if "NAME" not in name
    }
    files |= set(re.findall(r"pytest ((?:tests/[\w/.]+ ?)+)", PAGE))
    missing = [name for names in files for name in names.split() if not (ROOT / name.rstrip(".`")).exists()]
    assert missing == []
