"""Trained models in use: a slide or an image -> nuclei with classes and measurements, counts, pictures and pages."""
