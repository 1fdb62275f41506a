"""Work on files: reading a history, choosing a spec for it, training on it, and evaluating forecasts of it."""
