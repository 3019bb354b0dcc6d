"""Comparing masks with a ground truth."""
