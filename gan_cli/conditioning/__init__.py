"""Conditioning: how a generator and a discriminator take class labels."""
