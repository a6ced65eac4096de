"""Simulated PanNuke: H&E-like tiles with exact ground truth, for the demo and the tests.

No image is that of a patient, and every fold has a file that marks it as simulated.
"""
