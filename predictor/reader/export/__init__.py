"""`predictor log export`: predictions as a table in a file."""
