"""One file per command: a function that runs the command and returns its exit code.

They share ``connect`` (from settings to transports, readers and models), ``reading`` (from files to histories) and
``tables`` (how tables look).  ``streamcast.app.cli`` declares the commands and handles exceptions.
"""
