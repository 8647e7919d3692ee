"""The prediction log, write side: the record's attributes, their encoding, the stream that numbers them."""
