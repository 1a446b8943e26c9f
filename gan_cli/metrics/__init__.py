"""Metrics: how generated images are scored against real ones."""

from gan_cli.metrics.metrics import Direction, Metric, Metrics, Sample, Scorer

__all__ = ["Direction", "Metric", "Metrics", "Sample", "Scorer"]
