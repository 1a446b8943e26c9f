"""Config: the composed command line as checked plain data, and the objects that are built from it."""
