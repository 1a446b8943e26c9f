"""One run: its events, its folder, its checkpoints, and what it says while it goes on."""
