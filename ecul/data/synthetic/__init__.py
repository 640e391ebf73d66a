"""People drawn procedurally: an embedded stand-in for the real datasets."""

from ecul.data.synthetic.difficulty import SyntheticDifficulty
from ecul.data.synthetic.generate import pretraining_images, synthesize

__all__ = ["SyntheticDifficulty", "pretraining_images", "synthesize"]
