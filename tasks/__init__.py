"""What flows are made of. README.md in this folder describes the packages."""
