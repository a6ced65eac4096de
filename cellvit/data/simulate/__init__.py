"""Simulated PanNuke: H&E-like tiles with exact truth, for the demo and the tests.

Nothing made here is a picture of a patient; every fold carries a marker file that says so.
"""
