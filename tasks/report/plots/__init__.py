"""The plots, one file a kind. Each takes numbers and gives a Canvas, or None if there is nothing to show."""
