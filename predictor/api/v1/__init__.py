"""KServe's protocol, version 1, which TensorFlow Serving began: instances in, predictions out."""
