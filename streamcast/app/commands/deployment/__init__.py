"""Commands that read a settings file: the service, its page, and what checks, repairs and verifies them.

``connect`` turns settings into clients and models, ``topics`` asks for the topics, ``capacity`` says how many series
have room, ``listening`` opens ports.
"""
