"""Losses of the HoVer-Net decoder."""
