"""`predictor log replay`: logged inputs through a model once more, compared."""
