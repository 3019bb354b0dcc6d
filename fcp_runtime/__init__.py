"""Nucleus segmentation in 2-D and 3-D on a CPU, without torch."""
