"""Metrics of nuclei, maps and classes, with their intervals; numpy and scipy only."""

from cellvit.metrics.overlap import aji, aji_plus, dice, panoptic_quality

__all__ = ["aji", "aji_plus", "dice", "panoptic_quality"]
