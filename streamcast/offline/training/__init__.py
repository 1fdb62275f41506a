"""Training: from a history to a model."""
