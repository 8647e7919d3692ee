"""The Open Inference Protocol as gRPC has it: messages of protobuf, and what they mean here; needs the extra `grpc`."""
