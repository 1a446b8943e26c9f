"""Trackers: one file for each choice of `tracker`; none of them imports its package before a run starts."""

from gan_cli.trackers.tracker import Tracked, Tracker

__all__ = ["Tracked", "Tracker"]
