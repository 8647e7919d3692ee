"""`predictor load`: a bounded load for a prediction server, and a summary of what it answered."""
