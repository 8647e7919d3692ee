"""`predictor check MODEL --rows FILE --expected COLUMN`: a converted model beside the original's own predictions."""
