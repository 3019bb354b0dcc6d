"""TIFF in and out: what the other rooms use."""

from fcp_runtime.io.tiff.read import read_labels, read_volume
from fcp_runtime.io.tiff.write import write_labels

__all__ = ["read_labels", "read_volume", "write_labels"]
