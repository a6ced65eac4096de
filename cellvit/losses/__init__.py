"""Losses of the decoder."""
