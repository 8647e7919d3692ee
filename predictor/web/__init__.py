"""HTTP: the calls, what surrounds them, and what is said when there is no answer."""
