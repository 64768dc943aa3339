"""How reward models read steps.

To add a format, write a file with a class like `qwen.QwenFormat`: it checks the checkpoint, says how its engine is to
be set up, tokenizes steps and reads the reward off the engine's output; then add a line to FORMATS and its name to
`PrmConfig.format`.
"""

from tasks.formats.qwen import QwenFormat

FORMATS = {"qwen": QwenFormat}
