"""PanNuke reader, simulated PanNuke, views of tiles, batches for decoders."""
