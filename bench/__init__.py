"""`make bench`: this server beside bare aiohttp and its peers; `python -m bench --help`."""
