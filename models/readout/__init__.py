"""From hidden states to a forecast: attention, encoders, decoders, heads, and readers of the lag window."""
