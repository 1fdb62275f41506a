"""The documentation as something that runs: its blocks, the pages that are written from the code, its notebooks.

Rules for a code block of a page (``tests/test_docs.py`` enforces them):

- ``bash`` and ``python`` blocks run, in the order of the page, in one folder; Python blocks share their names.
- A ``text`` block after one of these is its output: each line must appear, in this order, in what was printed.  Numbers
  may differ, and a line ``…`` stands for any others.
- ``json`` and ``yaml`` blocks are parsed.
- A comment before a block says more: ``<!-- not run: REASON -->``; ``<!-- given: NAME -->``, files that the reader has
  already (``tests/docs_given.py``); ``<!-- stays: TEXT -->``, a command that keeps running and has started when it
  prints this.
"""
