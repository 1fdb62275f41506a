"""The live page: reads a service's topics, never the service.

In reading order: ``track`` (one series), ``board`` (everything the page shows; pure), ``views`` (what of it is
sent), ``feed`` (topics to board), ``scrape`` (the service's own numbers), ``app`` (HTTP and server-sent events),
``server`` (in threads, bounded), ``static/`` (the page itself; no build step).
"""
