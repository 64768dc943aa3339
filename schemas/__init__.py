"""What a user writes (`config`) and what Stepwave writes (`tables`, `records`). Imports nothing else of the project."""
