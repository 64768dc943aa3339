"""What flows are made of. README.md in this folder describes the packages."""

import logging

# where no home can be written, it keeps its fonts in a folder for the while, and says so at length
logging.getLogger("matplotlib").setLevel(logging.ERROR)
