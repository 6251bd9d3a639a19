"""Errors that users can mend, and how they are told."""

from engine.errors import CheckpointError, InputError, SpecError, TrainingError
from tokenization.errors import TokenizationError

EXPECTED = (
    SpecError,
    InputError,
    CheckpointError,
    TrainingError,
    TokenizationError,
    OSError,  # no permission, no space left, no file where a folder is asked for
)
# rich ends the program where a pipe breaks, and nothing else here does.
CUT_OFF = (BrokenPipeError, SystemExit)


def told(error: BaseException) -> str:
    """The lines that a person reads of an expected error."""
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        parts = (error.filename, error.strerror or error)
        return ": ".join(str(part) for part in parts if part)
    return str(error)
