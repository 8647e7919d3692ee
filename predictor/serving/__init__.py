"""One prediction on its way: pipeline, batcher, deadlines."""
