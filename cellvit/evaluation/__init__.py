"""Scoring, baselines, tuning, organ routing, checks, summary and galleries."""
