"""Training loops: generators that yield one record a step or epoch."""
