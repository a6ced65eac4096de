"""Figures of merit: overlap, PanNuke's protocol, detection, maps, classification and intervals (numpy and scipy only)."""

from cellvit.metrics.overlap import aji, aji_plus, dice, panoptic_quality

__all__ = ["aji", "aji_plus", "dice", "panoptic_quality"]
