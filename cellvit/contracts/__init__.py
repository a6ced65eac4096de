"""Records in memory and formats on disk: names, shapes, dtypes, ranges, versions."""
