import json

import pytest

from cluster.storage import RunFolder
from tune.trials import follow as follow_module
from tune.trials.follow import NewLines, TimeIsUpError, follow


@pytest.fixture
def folder(tmp_path):
    return RunFolder(str(tmp_path), "run")


def line(epoch, seconds=1.0):
    return (json.dumps({"epoch": epoch, "seconds/train": seconds}) + "\n").encode()


def test_each_line_is_read_once(folder):
    lines = NewLines(folder, "metrics.jsonl")
    assert lines.read() == b""
    folder.write("metrics.jsonl", line(1))
    assert lines.read() == line(1)
    assert lines.read() == b""
    folder.write("metrics.jsonl", line(1) + line(2) + line(3))
    assert lines.read() == line(2) + line(3)
    assert lines.read() == b""


def test_a_line_that_is_still_being_written_waits(folder):
    lines = NewLines(folder, "metrics.jsonl")
    folder.write("metrics.jsonl", line(1) + line(2)[:9])
    assert lines.read() == line(1)
    folder.write("metrics.jsonl", line(1) + line(2))
    assert lines.read() == line(2)


def test_only_the_end_of_a_long_file_is_read(folder, monkeypatch):
    lines = NewLines(folder, "metrics.jsonl")
    many = b"".join(line(epoch) for epoch in range(1000))
    folder.write("metrics.jsonl", many)
    lines.read()
    read = []
    content_from = lines._content_from
    monkeypatch.setattr(lines, "_content_from", lambda start: read.append(content_from(start)) or read[-1])
    folder.write("metrics.jsonl", many + line(1000))
    assert lines.read() == line(1000)
    assert [len(content) for content in read] == [len(line(999)) + len(line(1000))]


def test_a_file_that_a_resume_replaced_is_read_from_its_start(folder):
    lines = NewLines(folder, "metrics.jsonl")
    folder.write("metrics.jsonl", line(1) + line(2) + line(3))
    lines.read()
    folder.write("metrics.jsonl", line(1))
    assert lines.read() == line(1)
    folder.write("metrics.jsonl", line(1) + line(2, seconds=123.456))
    assert lines.read() == line(2, seconds=123.456)


def test_a_replaced_file_that_has_already_grown_past_the_last_look_is_noticed(folder):
    lines = NewLines(folder, "metrics.jsonl")
    folder.write("metrics.jsonl", line(1) + line(2) + line(3))
    lines.read()
    replaced = line(1) + line(2, seconds=123.456) + line(3) + line(4)
    folder.write("metrics.jsonl", replaced)
    assert lines.read() == replaced


def test_a_training_over_its_time_is_told_from_one_that_ended(folder, monkeypatch):
    monkeypatch.setattr(follow_module.ray, "wait", lambda references, timeout: ([], references))
    folder.write("metrics.jsonl", line(1))
    records = follow(folder, "work", seconds=0)
    assert next(records)["epoch"] == 1
    with pytest.raises(TimeIsUpError):
        next(records)

    monkeypatch.setattr(follow_module.ray, "wait", lambda references, timeout: (references, []))
    monkeypatch.setattr(follow_module.ray, "get", lambda reference: None)
    assert [record["epoch"] for record in follow(folder, "work", seconds=0)] == [1]
