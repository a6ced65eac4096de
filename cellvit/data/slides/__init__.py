"""Slides and images of any size: opening them, their resolution, tissue and regions, and pixels at the resolution of a model."""
