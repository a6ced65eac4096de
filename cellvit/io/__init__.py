"""Files: one module a format, written whole or not at all."""
