"""What a user writes (`config`) and what Stepwave writes (`tables`). Imports nothing else of the project."""
