"""HTTP: an ordinary aiohttp server, and a fast lane in front of it."""
