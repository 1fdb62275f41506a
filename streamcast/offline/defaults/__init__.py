"""A model spec from a history: the choices that the user did not make.

``spec`` makes all of them.  ``series`` has the columns and bars, ``seasons`` the seasons, ``transforms`` the scale of
the target, and ``notes`` the sentences about what was chosen.
"""
