"""The calls of the prediction log pattern: `/predict`, `/metadata`, `/feedback` and what belongs to them."""
