"""The recipes of docs/extending.md run, and the files that they name exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
RECIPES = {section.splitlines()[0]: section for section in PAGE.split("\n## ")[1:]}


def test_there_are_eight_recipes_and_each_has_code():
    assert len(RECIPES) == 8
    assert [title for title, text in RECIPES.items() if "```python" not in text] == []


@pytest.mark.parametrize("title", RECIPES)
def test_the_snippets_of_a_recipe_run(title: str):
    names: dict[str, object] = {"__name__": "recipe"}
    for code in re.findall(r"```python\n(.*?)```", RECIPES[title], re.DOTALL):
        exec(compile(code, f"docs/extending.md, {title}", "exec"), names)


def test_the_unfiltered_preset_is_a_recipe():
    from ecul.bench.clustering import simulated
    from ecul.parameters import ClusteringParameters

    names: dict[str, object] = {"__name__": "recipe"}
    code = re.findall(r"```python\n(.*?)```", RECIPES["A clustering preset"], re.DOTALL)[0]
    exec(compile(code, "docs/extending.md", "exec"), names)
    recipe = names["unfiltered"](simulated(60, 8, "3", 0)[0], ClusteringParameters())
    assert recipe.filter_depth == 0


def test_named_files_exist():
    files = {
        name for name in re.findall(r"`((?:ecul|cluster|tune|tests)/[\w/]+(?:\.py)?)/?`", PAGE) if "NAME" not in name
    }
    files |= set(re.findall(r"pytest ((?:tests/[\w/.]+ ?)+)", PAGE))
    missing = [name for names in files for name in names.split() if not (ROOT / name.rstrip(".`")).exists()]
    assert missing == []
