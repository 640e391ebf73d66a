"""Closed lists of names, each written once: settings, registries and command-line choices are checked against them.

Two lists stand beside what belongs to their names: clustering presets in `ecul.parameters` (with their defaults) and
trackers in `cluster.tracking.interface`.

A registry that must hold exactly these names is tested to do so (tests/ecul/test_names.py).
"""

from typing import Literal

SearchBackend = Literal["auto", "tiles", "faiss", "torch"]
"""What proposes neighbours: `ecul.clustering.search`. The lists do not depend on it."""

Groups = Literal["modality_camera", "modality"]
"""Groups of images inside which a clustering counts neighbours: `ecul.clustering.presets`."""

Reading = Literal["groups", "window"]
"""The two readings of EMCC's ranges k2 and k3: `ecul.clustering.presets`."""

Reciprocal = Literal["groups", "all"]
"""Where EMCC counts the k1 reciprocal neighbours: `ecul.clustering.presets`."""

Balance = Literal["groups", "modalities"]
"""What weighs the same in a fused encoding: `ecul.clustering.presets`."""

Centring = Literal["none", "modality", "camera"]
"""Whose mean is subtracted from embeddings before they are clustered: `ecul.clustering.centring`."""

Links = Literal["neighbours", "transport"]
"""What makes the clusters over both modalities: `ecul.clustering.pipeline`."""

LayoutName = Literal["sysu", "regdb", "llcm"]
"""Dataset layouts: one module of `ecul.data.layouts` each.

A layout may have a ranking rule of its own (`ecul.evaluation.ranking.RULES`) and a plan for synthetic people
(`ecul.data.synthetic.plan`), which go by its name; asking for one that does not exist is refused there.
"""

Benchmark = Literal["people-easy", "people", "people-hard"]
"""Sets of synthetic people on which methods are compared: `ecul.data.synthetic.benchmarks`."""

GalleryRule = Literal["community", "official"]
"""How SYSU-MM01's galleries are drawn: `ecul.evaluation.protocols`."""

Oracle = Literal["intra", "links", "completed", "united", "all"]
"""Which labels an ablation tells the truth about: `ecul.engine.oracle`."""

MemoryRule = Literal["random", "hard", "instance", "mean"]
"""Rules by which a batch moves a memory: `ecul.memory.update`."""

InitialRow = Literal["mean", "random"]
"""What a cluster's row is at the start of an epoch: `ecul.memory.centroids`."""

UnitedBatch = Literal["mixed", "own", "own_unpaired"]
"""Where the images of the united terms come from: `ecul.data.samplers`."""

StageName = Literal["bootstrap", "intra", "blend", "united"]
"""Stages of a training, in their order: `ecul.config.training`."""

Backbone = Literal["agw_resnet50", "small"]
"""Networks: `ecul.models.backbone`."""

Device = Literal["auto", "cpu", "cuda", "mps"]
"""Where tensors live; `auto` takes a GPU where there is one."""

ModalityChoice = Literal["auto", "visible", "infrared"]
"""Modality of images of any origin; `auto` guesses it from their colour."""
