"""Tests: folders as in `predictor/`, helpers in `support/`."""
