"""Batched passes through the encoder, OrganHead and the decoders, and the segmentation of their maps."""
