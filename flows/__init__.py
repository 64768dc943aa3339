"""What a user runs: Prefect flows, and the command line over them. `python -m flows` is `stepwave`."""
