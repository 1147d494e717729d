"""What goes wrong with data on a disk: a file that is not there, or not what its name says."""

from __future__ import annotations

from graphc.errors import GraphcError


class MissingDataError(GraphcError, FileNotFoundError):
    """A file of a data set is not where it was looked for."""


class MissingPackageError(GraphcError, ImportError):
    """An optional package that carries a data set is not installed."""


class DataFormatError(GraphcError, ValueError):
    """A data file is truncated, damaged, or of another kind than its name promises."""
