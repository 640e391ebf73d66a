import inspect

from ecul.engine.interfaces import FitResult, Reporter, Reporters

EVENTS = [name for name, member in vars(Reporter).items() if inspect.isfunction(member)]


class Remembers(Reporter):
    """Remembers the names of the calls."""

    def __init__(self, history=()):
        self.calls = []
        self._history = history

    def history(self, epoch):
        return self._history

    def __getattribute__(self, name):
        if name in EVENTS and name != "history":
            self.calls.append(name)
        return super().__getattribute__(name)


def report(reporter, config):
    reporter.start(config, {}, epoch=0)
    reporter.progress(1, 1, 1)
    reporter.epoch({"epoch": 1.0})
    reporter.warn("w")
    reporter.finish(FitResult(1, (), {}))
    reporter.picture("curves", b"")
    reporter.file("inspection.npz", b"")
    reporter.close()


def test_every_event_reaches_every_reporter_in_order(tiny_config):
    first, second = Remembers(), Remembers()
    report(Reporters([first, Reporter(), Reporters([second])]), tiny_config())
    events = ["start", "progress", "epoch", "warn", "finish", "picture", "file", "close"]
    assert first.calls == second.calls == events
    assert set(first.calls) | {"history"} == set(EVENTS)
    assert all(name in vars(Reporters) for name in EVENTS)


def test_the_history_is_that_of_the_first_reporter_that_has_one():
    reporters = Reporters([Remembers(), Remembers([{"epoch": 1.0}]), Remembers([{"epoch": 2.0}])])
    assert reporters.history(3) == [{"epoch": 1.0}]
    assert list(Reporters([Reporter()]).history(3)) == []
