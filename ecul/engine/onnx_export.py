"""A network as an ONNX file that does all but reading and resizing the images."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from ecul.data.transforms import MEAN, STD
from ecul.errors import DataError
from ecul.files import replacing
from ecul.models.backbone import DualStream
from ecul.models.inference import for_inference

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference of an embedding's number between the file and the network that is let pass."""


class Deployed(nn.Module):
    """From pixels to embeddings, both modalities in one batch."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: DualStream) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(MEAN).mul(255).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(STD).mul(255).view(3, 1, 1))

    def forward(self, images: UInt8[Tensor, "B 3 H W"], infrared: Bool[Tensor, "B"]) -> Float[Tensor, "B D"]:
        """Returns unit embeddings, the mean over the image and its mirror image, as `ecul embed` does."""
        pixels = (images.float() - self.mean) / self.deviation
        return F.normalize(self._embed(pixels, infrared) + self._embed(pixels.flip(3), infrared))

    def _embed(self, pixels: Tensor, infrared: Tensor) -> Tensor:
        model = self.model
        # both stems see all images: a graph cannot split a batch, and stems are a small part of the work
        maps = torch.where(infrared.view(-1, 1, 1, 1), model.infrared_stem(pixels), model.visible_stem(pixels))
        return model.head(model.pooling(model.body(maps)))


def export_onnx(model: DualStream, path: Path, *, height: int, width: int) -> float:
    """Writes the network and returns the largest difference between onnxruntime's embeddings and its own.

    The graph maps `images` (uint8 RGB, batch x 3 x height x width) and `infrared` (bool, batch) to `embeddings`.

    Args:
        model: on the CPU.
        path: file to write.
        height: of the images, pixels.
        width: of the images, pixels.

    Raises:
        DataError: the libraries of the extra `onnx` are missing, or the file's embeddings are not the network's.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise DataError(f"ONNX needs {error.name}; install it with: pip install 'ecul[onnx]'") from None
    deployed = Deployed(for_inference(model)).eval()
    example = _example(2, height, width)
    batch = torch.export.Dim("batch")
    with replacing(path) as partial:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's own deprecations
            for library in ("onnxscript", "onnx_ir"):  # they tell of every pass over the graph
                logging.getLogger(library).setLevel(logging.WARNING)
            torch.onnx.export(
                deployed,
                example,
                str(partial),
                input_names=["images", "infrared"],
                output_names=["embeddings"],
                opset_version=OPSET,
                dynamic_shapes={"images": {0: batch}, "infrared": {0: batch}},
                external_data=False,
                verbose=False,
                dynamo=True,
            )
        session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        worst = max(_difference(session, deployed, _example(size, height, width)) for size in (1, 3))
        if not worst <= TOLERANCE:
            raise DataError(f"{path}: its embeddings differ from the network's by {worst:.2g}, allowed are {TOLERANCE}")
    return worst


def _example(size: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(size)
    images = generator.integers(0, 256, (size, 3, height, width), dtype=np.uint8)
    return torch.from_numpy(images), torch.arange(size) % 2 == 1


def _difference(session: Any, deployed: Deployed, example: tuple[Tensor, Tensor]) -> float:
    images, infrared = example
    (found,) = session.run(None, {"images": images.numpy(), "infrared": infrared.numpy()})
    with torch.no_grad():
        expected = deployed(images, infrared).numpy()
    return float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
