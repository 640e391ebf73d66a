"""What the code and the documents cite is there: headings, steps, files, functions and links."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("ecul", "cluster", "tune", "configs", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".yaml") and path != Path(__file__)
)
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])


def _text(path: Path) -> str:
    """The text in one line, so that a citation may be wrapped."""
    return " ".join(path.read_text(encoding="utf-8").split())


def _headings(page: str) -> set[str]:
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    return {line.lstrip("#").strip() for line in lines if line.startswith("#")}


def _steps() -> set[int]:
    section = (ROOT / "docs" / "method.md").read_text(encoding="utf-8").split("## EMCC")[1].split("\n## ")[0]
    return {int(number) for number in re.findall(r"^(\d+)\. ", section, re.MULTILINE)}


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_cited_headings_exist():
    wrong = [
        f'{_id(path)}: docs/{page}, "{heading}"'
        for path in [*SOURCES, *PAGES]
        for page, heading in re.findall(r'docs/(\w+\.md), "([^"]+)"', _text(path))
        if heading not in _headings(page)
    ]
    assert wrong == []


def test_cited_steps_exist_and_sections_are_cited_by_heading():
    wrong = []
    for path in SOURCES:
        text = _text(path)
        for first, last in re.findall(r"EMCC steps? (\d+)(?: (?:to|and) (\d+))?", text):
            wrong += [f"{_id(path)}: EMCC step {step}" for step in (first, last) if step and int(step) not in _steps()]
        wrong += [f"{_id(path)}: {words}" for words in re.findall(r"method(?:\.md,)? section \d", text)]
    assert wrong == []


def test_cited_pages_exist():
    wrong = [
        f"{_id(path)}: docs/{page}"
        for path in [*SOURCES, *PAGES]
        for page in re.findall(r"docs/(\w+\.(?:md|py|png|jpg))", _text(path))
        if not (ROOT / "docs" / page).is_file()
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_lead_somewhere(page: Path):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    relative = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in relative if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_named_functions_exist(page: Path):
    wrong = []
    for file, name in re.findall(r"`([\w/]+\.py):(\w+)`", page.read_text(encoding="utf-8")):
        places = [ROOT / file, ROOT / "ecul" / file, ROOT / "ecul" / "clustering" / file]
        source = next((place.read_text(encoding="utf-8") for place in places if place.is_file()), "")
        if not re.search(rf"^(?:def|class) {name}\b|^{name}\b", source, re.MULTILINE):
            wrong.append(f"{file}:{name}")
    assert wrong == []


_WIDTH = 100


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_lines_of_pages_are_short_enough_to_compare(page: Path):
    """Tables and code have the lines that they need."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > _WIDTH and not line.startswith("|")] == []
