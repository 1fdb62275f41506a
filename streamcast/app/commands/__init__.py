"""One file a command: a function that does it and returns the exit code.

``connect`` is what they share: settings to transports, readers and models.  ``cli`` maps options to calls,
and exceptions to exit codes.
"""
