"""Speed, accuracy and faults: most files are commands that print a table and write a JSON."""
