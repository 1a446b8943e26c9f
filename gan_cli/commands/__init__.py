"""What each console script does with checked options."""
