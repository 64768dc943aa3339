"""All that speaks to a Prefect server; nothing of a run is in it."""
