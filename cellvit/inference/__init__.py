"""Batched passes through encoder and decoder."""
