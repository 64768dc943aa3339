"""Where time went and what was counted, for a person and for Prometheus."""
