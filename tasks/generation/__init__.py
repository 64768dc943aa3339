"""A run: shards and cohorts in flight, commits, resuming, completion."""
