"""One rooted error tree; every message names the thing, its value and the way to mend it."""

from __future__ import annotations


class ThumbwheelError(Exception):
    """Root of every error that a user can mend; printed as one line, without a traceback."""


class ParamsError(ThumbwheelError, ValueError):
    """`params.yaml` has a missing, unknown or ill-typed key."""


class SettingsError(ThumbwheelError, ValueError):
    """A `THUMBWHEEL_*` environment variable has a value that cannot be used."""


class SourceError(ThumbwheelError, OSError):
    """A data source or question set is missing or cannot be read."""


class RecordError(ThumbwheelError, ValueError):
    """A row does not fit its schema."""


class PinError(ThumbwheelError, LookupError):
    """A pin is missing, malformed, or points at a table version that the lake does not hold."""


class GraphError(ThumbwheelError, ValueError):
    """`dvc.yaml` holds something that the task graph cannot be read from."""


class ModelError(ThumbwheelError, OSError):
    """A model is not there or is not of a kind that can be used."""


class EngineError(ThumbwheelError, RuntimeError):
    """The inference engine did not start, or died."""


class JudgeError(ThumbwheelError, RuntimeError):
    """The judge endpoint cannot be reached or refuses."""


class TrainingError(ThumbwheelError, RuntimeError):
    """Training cannot start or must not go on."""


class GateError(ThumbwheelError, ValueError):
    """The gate lacks a measurement that its criteria name."""


class SandboxError(ThumbwheelError, RuntimeError):
    """Generated programs cannot be walled in on this machine, so none is run."""


class ReleaseError(ThumbwheelError, RuntimeError):
    """A release step was refused: a wrong bundle, a missing approval, nothing to roll back to."""


class PortInUseError(ThumbwheelError, OSError):
    """A port that a service needs is taken by another process."""


class FeedbackError(ThumbwheelError, ValueError):
    """A feedback event does not fit its schema."""


class IndexDamageError(ThumbwheelError, OSError):
    """A knowledge index is missing, damaged, or not the one that was released."""


class DriftError(ThumbwheelError, RuntimeError):
    """The served release no longer answers as it did at its promotion, or cannot be asked."""


class TurnError(ThumbwheelError, RuntimeError):
    """A turn of the wheel cannot start now, or did not complete."""


class DiskFullError(ThumbwheelError, OSError):
    """A disk is full; what was whole before is whole still."""


class StoreError(ThumbwheelError, OSError):
    """A store behind the chat service cannot be reached, or refuses."""
