"""The simulation: services, broker and clock in one thread, with faults drawn from a seed."""
