"""Work on files: reading a history, training on it, and evaluating forecasts of it."""
