"""Metrics: how generated images are scored against real ones."""
