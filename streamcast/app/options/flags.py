"""What a person types for an option, and a message with its options written so."""

from __future__ import annotations

from pathlib import Path

from streamcast.errors import Message, Option

SETTINGS = Path("streamcast.yaml")
"""The settings file that commands read unless ``--config`` names another."""
MODELS = Path("trained")
"""The folder of models that commands use unless ``--models`` names another."""


def elsewhere(folder: Path) -> list[str]:
    """Return the option that names the folder of models, where it is not the default."""
    return [] if folder == MODELS else ["--models", str(folder)]


_FLAGS = {Option.COLUMNS: "--columns", Option.INITIAL: "--from", Option.TEST_FROM: "--test-from"} | {
    option: f"--option {option.value}"
    for option in (
        Option.UPDATES, Option.PATIENCE, Option.VALIDATION, Option.ROWS, Option.CHUNK, Option.BURN_IN,
        Option.POSITIONS, Option.LEARNING_RATE, Option.REFIT, Option.AVERAGE, Option.HIGHWAY_RATE, Option.DECAY,
        Option.DECAY_EVERY, Option.WEIGHT_DECAY, Option.CLIP, Option.ACCUMULATE, Option.CELL_PENALTY,
        Option.PONDER_COST, Option.IMITATE, Option.LAYER_EPOCHS, Option.PRECISION, Option.DEVICE,
    )
}  # fmt: skip
"""What is typed for options that have no flag of their own name."""


def flag(option: Option) -> str:
    """Return what a person types for an option, such as ``--id-col`` or ``--option validation``."""
    return _FLAGS.get(option, "--" + option.value.replace("_", "-"))


def typed(*parts: object) -> str:
    """Return a message with its options as a person types them."""
    pieces = (piece for part in parts for piece in (part.parts if isinstance(part, Message) else (part,)))
    return "".join(flag(piece) if isinstance(piece, Option) else str(piece) for piece in pieces)
