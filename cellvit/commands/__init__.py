"""Helpers of the command line that are no step of the graph."""
