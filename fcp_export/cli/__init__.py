"""The commands ``fcp-distill`` and ``fcp-export``."""
