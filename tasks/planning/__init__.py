"""What is known of a run before weights are loaded: roles, windows, memory, problems, threshold."""
