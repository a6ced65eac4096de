"""The page of a run, from documents, tables and pictures alone."""
