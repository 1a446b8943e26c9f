"""Models: a generator and a discriminator each, in one file."""
