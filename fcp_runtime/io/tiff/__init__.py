"""TIFF in and out."""

from fcp_runtime.io.read import read_labels, read_volume
from fcp_runtime.io.tiff.write import write_labels

__all__ = ["read_labels", "read_volume", "write_labels"]
