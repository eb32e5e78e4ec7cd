"""Segmentation networks, and the registry through which checkpoints are rebuilt."""
