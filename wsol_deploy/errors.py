"""Errors a user can mend: one line that says what is wrong, where, and the mend.

Exit codes of the command line: 0 all well, 1 failed, 2 usage, 3 some images failed,
4 the proof failed, 130 interrupted.
"""

from __future__ import annotations


class WsolError(Exception):
    """A failure with a one-line message for the user; the command exits with `exit_code`."""

    exit_code = 1


class UsageError(WsolError):
    """The command or a recipe asked for something that does not exist."""

    exit_code = 2


class DataError(WsolError):
    """A data set cannot be used as it is."""


class ImageError(WsolError):
    """One image cannot be read."""


class ArtifactError(WsolError):
    """A model file cannot be used: damaged, foreign, or of another schema."""


class SomeImagesFailed(WsolError):
    """The work is done, but some images failed."""

    exit_code = 3


class ProofFailed(WsolError):
    """An exported artifact does not give what PyTorch gives."""

    exit_code = 4


class MissingExtra(WsolError):
    """An optional dependency is not installed.

    Args:
        feature: what the user asked for, as the start of a sentence ("Training").
        extra: the extra of wsol-deploy that brings it ("train").
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed: pip install 'wsol-deploy[{extra}]'"
        )
