"""What the flows are made of.

`decoding` is the pure core: trajectories, waves, acceptance. `engines` serve models (one file a kind), `formats` say
how a reward model reads steps (one file a format), `importing` reads benchmark files (one file each). The rest reads
problems, writes runs, grades and counts.
"""
