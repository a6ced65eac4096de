"""Both directions of NP, HV and NT: targets from instances, instances from maps."""
