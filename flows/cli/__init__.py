"""The command line: a file for each group of commands. Each is imported when one of its commands is asked for."""

from flows.cli.application import app, main

__all__ = ["app", "main"]

COMMANDS = {
    "runs": ("demo", "generate", "check"),
    "outputs": ("status", "show", "report"),
    "studies": ("evaluate", "calibrate"),
    "datasets": ("export", "rollouts", "import_"),
}
"""File to its commands."""

for file, names in COMMANDS.items():
    for name in names:
        app.command(f"flows.cli.{file}:{name}", name=name.rstrip("_"))
