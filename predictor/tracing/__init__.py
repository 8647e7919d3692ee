"""Traces: ids, the sample, and the spans of a request."""
