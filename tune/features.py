"""`python -m tune.features`: saves the features of a run, or of starting weights, for quick searches."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecul.console import Parser, run_command
from ecul.errors import ConfigError

if TYPE_CHECKING:
    from ecul.config import Config
    from tune.trials.bank import TuningBank

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = Parser(
        prog="python -m tune.features", description="Save a feature bank for `python -m tune.run --fidelity features`."
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="run directory or checkpoint, best of stage 1")
    parser.add_argument("--config", metavar="FILE", help="instead of RUN: the starting weights of a configuration")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="replace a setting")
    parser.add_argument("--out", required=True, metavar="FILE.npz")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the bank and returns the exit code: 0 good, 2 bad input, 130 interrupted."""
    args = build_parser().parse_args(argv)
    return run_command("tune.features", lambda: _write(args))


def _write(args: argparse.Namespace) -> int:
    from ecul.engine.checkpoints import find_checkpoint, read_checkpoint
    from ecul.engine.state import checkpoint_config
    from ecul.schema import parse_assignments
    from ecul.settings import load_config, updated
    from tune.trials.bank import save_bank
    from tune.trials.held_out import held_people_out

    if bool(args.run) == bool(args.config):
        raise ConfigError("give a RUN (directory or checkpoint), or --config FILE for its starting weights")
    if args.run:
        checkpoint = read_checkpoint(find_checkpoint(Path(args.run)))
        config = updated(checkpoint_config(checkpoint), parse_assignments(args.set))
        held_out = held_people_out(args.run)
    else:
        checkpoint, held_out = None, True
        config = load_config(args.config, [*args.set, "data.hold_out_validation=true"])
    bank = embed_run(config, checkpoint=checkpoint, held_out=held_out)
    save_bank(bank, Path(args.out))
    if bank.validation is None:
        log.warning(
            "the run trained on all people (data.hold_out_validation=false), so no validation objective can use this "
            "bank; label-free ones can"
        )
    else:
        log.info("%d validation images of held-out people", len(bank.validation))
    log.info("%d training images, features of size %d: %s", *bank.train.features.shape, args.out)
    return 0


def embed_run(config: "Config", *, checkpoint: dict[str, Any] | None, held_out: bool) -> "TuningBank":
    """Returns the features of a checkpoint, or of the starting weights without one.

    Args:
        config: where the images are and how they are read.
        checkpoint: whose weights; None for the configured starting weights.
        held_out: whether the network never trained on the validation people, who are kept only then.
    """
    from ecul import runtime
    from ecul.data.dataset import digest
    from ecul.engine.embedding import embed_images
    from ecul.engine.session import build_network, image_store, open_data
    from ecul.types import FeatureBank, SampleIndex
    from tune.trials.bank import TuningBank

    dataset = open_data(config)
    device = runtime.pick_device(config.runtime.device)
    runtime.make_deterministic(config.seed)
    model = build_network(config).to(device)
    if checkpoint is not None:
        model.load_state_dict(checkpoint["model"])

    def embed(samples: SampleIndex) -> FeatureBank:
        features = embed_images(
            model,
            image_store(config, samples.paths),
            samples,
            device=device,
            batch_size=config.evaluation.batch_size,
            autocast=config.runtime.autocast,
        )
        return FeatureBank(features.cpu().numpy(), samples.modality, samples.camera)

    validation = dataset.validation if held_out else None
    facts = {
        "dataset": dataset.name,
        "data_digest": digest(dataset),
        "epoch": 0 if checkpoint is None else checkpoint["epoch"],
        "weights": config.model.weights if checkpoint is None else "checkpoint",
    }
    return TuningBank(
        train=embed(dataset.train.samples),
        validation=None if validation is None else embed(validation.samples),
        identity=None if validation is None else validation.identity,
        facts=facts,
    )


if __name__ == "__main__":
    sys.exit(main())
