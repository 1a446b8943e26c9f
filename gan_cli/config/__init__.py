"""Config: what a command line composes, as checked plain data, and the objects that are built from it."""
