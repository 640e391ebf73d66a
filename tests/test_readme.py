"""The commands of README and of the pages for users are understood, and what they name exists."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from ecul.cli import build_parser

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *(f"docs/{name}.md" for name in ("own-images", "reproduce", "report", "cluster", "benchmark")))


def commands(page: str) -> list[str]:
    """Lines of a page's code blocks, fenced or indented, that call a command; comments and loops left out."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip().removeprefix(".venv/bin/") for line in text.splitlines() if not line.startswith("|")]
    return [line for line in lines if re.match(r"(ecul|python -m (cluster|tune)\.\w+) [-a-z/]", line)]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_are_understood(page: str):
    found = commands(page)
    assert found
    for line in found:
        words = shlex.split(line, comments=True)
        program = words[2] if words[0] == "python" else "ecul"
        parser = build_parser() if program == "ecul" else importlib.import_module(program).build_parser()
        parsed = parser.parse_args(words[3:] if words[0] == "python" else words[1:])
        configs = getattr(parsed, "config", None) or []
        for config in [configs] if isinstance(configs, str | Path) else configs:
            assert "*" in str(config) or (ROOT / config).is_file(), line


def test_links_of_the_pages_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_tree_of_contributing_names_what_is_there():
    tree = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```\necul/\n")[1].split("```")[0]
    folders = re.findall(r"(?:^|  )([a-z_]+)/ ", tree, re.MULTILINE)
    assert len(folders) > 15
    assert [name for name in folders if not (ROOT / name).is_dir() and not (ROOT / "ecul" / name).is_dir()] == []
    known = {path.name for path in (ROOT / "ecul").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert known - set(folders) == set()
