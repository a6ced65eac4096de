"""Frozen encoder, OrganHead and HoVer-Net decoder."""
