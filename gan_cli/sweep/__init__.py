"""Many runs for one table: the jobs, their folder, their devices and their states."""
