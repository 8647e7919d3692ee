"""`predictor log rejected` and `resend`: what the sink refused."""
