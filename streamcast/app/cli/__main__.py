"""``python -m streamcast.app.cli``: the same as the command ``streamcast``."""

from streamcast.app.cli.root import main

main()
