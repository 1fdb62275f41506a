"""A broker inside this process: the demo runs on it and the simulation breaks it on purpose."""
