"""The OpenAPI description of the server's calls, made from the message types and from what the models take and give."""
