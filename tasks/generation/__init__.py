"""A run: trajectories in flight, shards, commits, resuming, completion."""
