"""`predictor log verify`: is the log complete."""
