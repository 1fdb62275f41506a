"""A function for each command: it runs the command and returns its exit code.

``files`` has the commands that read a file of observations, ``deployment`` those that read a settings file; ``demo``,
``init``, ``models`` and ``new`` need neither, and ``tables`` says how tables look.
``streamcast.app.cli`` declares the commands and handles exceptions.
"""
