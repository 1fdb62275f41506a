"""Speed and accuracy: each file a command that prints a table and writes a JSON."""
