"""Methods side by side: the cells of an evaluation, each an ordinary run, and the table that they come to.

`cells` says which runs there are, `benchmarks` where their problems are, `results` what came out of each, `table`
adds them up (`tasks.resampling` says how sure the sums are), and `pages` writes the table for those who read it.
"""
