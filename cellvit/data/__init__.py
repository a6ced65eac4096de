"""PanNuke reader, simulated PanNuke, splits, views, batches."""
