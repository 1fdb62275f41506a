"""The live page: reads a service's topics, never the service.

In reading order: ``dead_letters`` (the newest of them), ``ticks`` (bars of ticks), ``track`` (one series), ``pulse``
(whether the stream lives), ``board`` (all series; no I/O), ``words`` (what the words on the page mean), ``views`` (the
board as JSON), ``feed`` (reads topics into the board), ``scrape`` (reads the service's /metrics), ``guard`` (who may
read), ``application`` (HTTP and server-sent events), ``server`` (the socket, its limits, and the threads), ``static/``
(the page itself; no build step).
"""
