"""A prediction server whose prediction log can be trusted: acknowledged means logged."""

from importlib.metadata import version

__version__ = version("prediction-log-server")
