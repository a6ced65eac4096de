"""One module a file format: the record in memory, its reader and its writer together."""
