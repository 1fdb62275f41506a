"""Commands that read a settings file: the service, its page, and what checks, repairs and verifies them.

``connect`` turns settings into clients and models, ``topics`` asks for the topics, ``listening`` opens ports.
"""
