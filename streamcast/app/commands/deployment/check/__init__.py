"""``streamcast check``: check everything a service needs; print one line each, with a remedy for each fault.

``command`` has the order of the checks; ``setup`` what they read from this machine, ``models``, ``broker``, ``topics``
and ``journal`` the checks, and ``say`` prints and counts their lines.
"""
