"""What a model's outputs mean: one task a module, and the one that finds out which it is."""
