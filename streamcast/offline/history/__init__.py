"""Histories: files and data frames as columns, bars and polls."""
