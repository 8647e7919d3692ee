"""The one public name: `runner`, which gunicorn's aiohttp worker calls as `predictor.app:runner`."""

from predictor.server.app import runner

__all__ = ["runner"]
