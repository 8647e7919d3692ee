"""The page at `/`: the last predictions in memory, how they are shown, and the files that a browser gets."""
