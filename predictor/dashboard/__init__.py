"""The page at `/`: keeps the last predictions in memory, and serves what a browser needs to show them."""
