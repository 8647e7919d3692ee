"""Tests against a real cluster, the one that the current kubectl context points to: `make test-cluster`.

They need `kubectl`, and the namespace as `kubectl apply -k` made it; they kill and roll its pods, under load.
What they add they take away again. Any image that they need is the predictor's own.
"""
