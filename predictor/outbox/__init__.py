"""The files that hold the log until the sink has it: writing, bounding, owning, recovering, reading them.

Knows nothing of the network, and of what is in a line only what `otlp` tells it.
"""

from predictor.outbox.outbox import Outbox, OutboxError

__all__ = ["Outbox", "OutboxError"]
