"""One run: its events, folder, checkpoints, summary, progress and pictures."""
