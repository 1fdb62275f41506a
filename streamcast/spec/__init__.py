"""A model as data: the model spec, the names of its features, and model folders on disk."""
