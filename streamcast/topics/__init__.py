"""Every byte format: observations, forecasts, dead letters, journal entries and their schemas."""
