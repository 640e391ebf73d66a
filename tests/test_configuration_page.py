"""Every setting says what it means where it is defined, and the page of settings is made from that."""

import importlib.util
from pathlib import Path

import pytest

from cluster.config import ClusterConfig
from ecul.config import Config
from ecul.reference import sections
from ecul.schema import setting_paths
from tune.config import SweepConfig

DOCS = Path(__file__).parents[1] / "docs"
_MIN_WORDS = 3


@pytest.mark.parametrize("record", [Config, ClusterConfig, SweepConfig])
def test_every_setting_is_documented(record):
    settings = [setting for section in sections(record) for setting in section.settings]
    assert [setting.path for setting in settings if len(setting.meaning.split()) < _MIN_WORDS] == []
    assert {setting.path for setting in settings} >= set(setting_paths(record))


def test_the_page_of_settings_is_current():
    spec = importlib.util.spec_from_file_location("configuration", DOCS / "configuration.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert page == module.text(), "run: python docs/configuration.py"
