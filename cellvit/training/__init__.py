"""Training of the decoders and of OrganHead: generators that yield one record a step or round."""
