"""Problem sets: found, imported, surveyed and streamed; a problem and what is said of it."""
