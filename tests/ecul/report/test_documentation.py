import re
from pathlib import Path

import numpy as np

PAGE = (Path(__file__).parents[3] / "docs" / "report.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/report.md", "exec"), {})


def test_the_page_names_all_arrays_of_the_file_and_no_other(runs):
    section = PAGE.split("## inspection.npz")[1].split("\n## ")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert named == set(np.load(runs / "first" / "inspection.npz").files)
