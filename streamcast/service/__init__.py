"""The serving process: it handles records, recovers state, writes snapshots and verifies its own output."""
