"""One module a rule: reads files, calls the package, writes files."""
