"""Every closed list of names, once. Settings, registries and command-line choices are checked against these.

A registry that must hold exactly these names is tested to do so (tests/ecul/test_names.py).
"""

from typing import Literal

Preset = Literal["emcc", "kreciprocal", "modality_balanced", "balanced_neighbours", "camera_aware"]
"""Neighbour distances: `ecul.clustering.presets`."""

LayoutName = Literal["sysu", "regdb", "llcm"]
"""Dataset layouts: one module of `ecul.data.layouts` each."""

RankingRule = Literal["sysu", "regdb", "llcm"]
"""What a ranking leaves out and how its CMC counts: `ecul.evaluation.ranking`. Named after their datasets."""

GalleryRule = Literal["community", "official"]
"""How SYSU-MM01's galleries are drawn: `ecul.evaluation.protocols`."""

FirstRule = Literal["random", "hard", "instance"]
"""Rules of TSMem's first step: `ecul.memory.update`."""

MemoryRule = Literal["random", "hard", "instance", "mean"]
"""All rules of a memory update: those of the first step, and the second step's."""

Backbone = Literal["agw_resnet50", "small"]
"""Networks: `ecul.models.backbone`."""

Device = Literal["auto", "cpu", "cuda", "mps"]
"""Where tensors live; `auto` takes a GPU where there is one."""
