"""What each console script does with options that are checked already."""
