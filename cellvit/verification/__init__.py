"""Rehashes what a run made, from raw folds to report, and names what is not what it should be. Nothing here loads torch."""
