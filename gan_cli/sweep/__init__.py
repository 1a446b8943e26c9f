"""Many runs for one table: what is to be run, where, on which devices, and what has become of it."""
