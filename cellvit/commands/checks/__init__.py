"""What `cellvit doctor` checks: one module for what a run reads, and one for the machine that it runs on."""
