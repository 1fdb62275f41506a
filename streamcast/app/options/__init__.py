"""The options of the command line: ``groups`` declares them, ``values`` reads their texts, ``flags`` says what to type.

Each group is a frozen dataclass that is passed on whole.  ``spread`` in ``streamcast.app.cli`` makes its fields the
parameters of a command.
"""
