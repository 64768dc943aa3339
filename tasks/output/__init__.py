"""The output of a run: its files and records, who works on it, and how a reader reads it."""
