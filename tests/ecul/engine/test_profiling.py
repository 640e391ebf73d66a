import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ecul.cli import main
from ecul.config import Config
from ecul.engine.profiling import TRACE_FILE, Profiler
from ecul.settings import config_tree


def test_the_command_leaves_a_trace_of_the_last_epoch(tiny_config: Callable[..., Config], tmp_path: Path):
    config = tiny_config({"stages.united": 0, "runtime.profile": True})
    (tmp_path / "config.json").write_text(json.dumps(config_tree(config)))
    assert main(["train", "--config", str(tmp_path / "config.json"), "--out", str(tmp_path / "run")]) == 0
    names = {event.get("name") for event in json.loads((tmp_path / "run" / TRACE_FILE).read_text())["traceEvents"]}
    assert {"ecul/forward", "ecul/backward", "ecul/memory"} <= names


@pytest.mark.parametrize(("num_steps", "num_traces"), [(1, 0), (2, 1), (30, 1)])
def test_an_epoch_of_any_length_can_be_profiled(tiny_config: Callable[..., Config], num_steps: int, num_traces: int):
    written: list[str] = []
    profiler = Profiler(lambda name, content: written.append(name))
    profiler.start(tiny_config(), {}, epoch=0)
    for step in range(1, num_steps + 1):
        profiler.progress(tiny_config().num_epochs, step, num_steps)
    assert written == [TRACE_FILE] * num_traces
