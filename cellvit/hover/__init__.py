"""NP, HV and NT maps in both directions: targets from instances, and instances from predicted maps."""
