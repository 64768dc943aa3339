"""What a person sees and presses at a terminal."""
