"""The frozen encoder, OrganHead and the HoVer-Net decoder."""
