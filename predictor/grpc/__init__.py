"""The second door: gRPC, by the same data plane as HTTP; needs the extra `grpc`."""
