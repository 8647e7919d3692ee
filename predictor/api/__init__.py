"""What each call means, without sockets."""
