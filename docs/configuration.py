"""Writes docs/configuration.md from the settings: `python docs/configuration.py`. A test holds it current."""

from pathlib import Path

from cluster.config import ClusterConfig
from ecul.config import Config
from ecul.reference import reference_text
from tune.config import SweepConfig

HEAD = """# Settings

Made by `python docs/configuration.py` from the strings under the fields; change them there.

A YAML file holds the settings that differ from their defaults. An unknown key, a key that stands
twice and a value out of range are errors that name the path. On a command line `--set PATH=VALUE`
replaces one setting; values are YAML, so `null`, `true` and `[a, b]` work. The file of a run may
begin from another one, `base: FILE` (relative to its own folder), and holds what differs.

"""


def text() -> str:
    """Returns the page."""
    run = reference_text(
        Config,
        title="A run",
        about="`ecul train --config FILE --set PATH=VALUE`, also of `python -m cluster.train`; defined in "
        "`ecul/config/` and `ecul/parameters.py`. Shipped files: `configs/*.yaml`.",
    )
    cluster = reference_text(
        ClusterConfig,
        title="A cluster",
        about="`python -m cluster.train --cluster FILE --cluster-set PATH=VALUE`; defined in `cluster/config.py`. "
        "Shipped files: `configs/cluster/*.yaml`.",
    )
    sweep = reference_text(
        SweepConfig,
        title="A sweep",
        about="`python -m tune.run --config FILE --set KEY=VALUE`; defined in `tune/config.py`. Shipped files: "
        "`configs/tune/*.yaml`.",
    )
    return HEAD + "\n".join([run, cluster, sweep])


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(text(), encoding="utf-8")
