"""A run from its first look at the output to its manifest, as all commands share it."""
