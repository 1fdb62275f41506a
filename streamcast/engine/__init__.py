"""The engine: a pure function (state, records) -> (state, forecasts)."""
