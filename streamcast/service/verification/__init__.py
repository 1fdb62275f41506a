"""Verification: everything that a service wrote is computed again from the topics, and compared to the byte.

In reading order: ``fold`` (state by law), ``written`` (the outputs of one partition), ``evidence`` (what is read
together), ``report`` (what is found), ``verify`` (the comparison).
"""
