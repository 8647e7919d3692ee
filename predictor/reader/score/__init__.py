"""`predictor log score`: predictions joined with the feedback on them."""
