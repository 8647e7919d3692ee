"""Assembly and life of the process: builds the parts, starts, drains, ends."""
