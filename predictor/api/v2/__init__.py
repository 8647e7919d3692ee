"""The Open Inference Protocol, version 2, over HTTP: what KServe, Triton and MLServer speak."""
