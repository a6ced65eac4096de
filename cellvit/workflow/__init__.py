"""What ties the package to Snakemake and the machine: result cache, fingerprint, resources, GPU assignment. Loads no torch."""
