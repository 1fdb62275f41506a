"""Evaluation: forecast errors, baselines, backtests and reports."""
