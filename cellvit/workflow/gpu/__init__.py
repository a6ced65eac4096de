"""GPUs of this machine: which there are, who holds which, and one for each process that asks. Loads no torch."""
