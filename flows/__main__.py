"""`python -m flows` is `stepwave`."""

from flows.safe_path import apart

apart()

from flows.cli import main  # noqa: E402

main()
