"""YAML and `--set` to one validated configuration, and what makes two runs the same."""
