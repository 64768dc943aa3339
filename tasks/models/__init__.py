"""What a checkpoint is: its files, weights, tokenizer and chat template, and how a PRM reads a step."""
