"""Training datasets made of runs.

`runs` reads committed shards, and `dataset` makes the dataset in two passes. In the first, a kind's file (`sft`,
`step_dpo`, `dpo`, `prm`) makes rows of each shard (`rows`), and `buckets` bring together what concerns one problem. In
the second, `duplicates` leaves out rows that were there already (`near_duplicates`), and the kind chooses among the
rows of whole problems (`choose`). `filters` counts what is left out. `writing` makes files of the rows, `card` their
README.md, `destination` and `hub` put them where they belong. Tables are handled as columns throughout. Python looks at
single problems, at single solutions where a problem has several, and at single attempts only where they are scored or
graded.

To add a kind: write `tasks/export/<kind>.py` with `ORDER`, `lacks`, `rows` and `choose` (and `unscored`, if
`--unscored` is for it), enter it in `dataset.BUILDERS` and `schemas.export.KINDS`, and describe its columns in
`schemas/datasets.py`.

Rewards that a run did not ask for are asked before a shard becomes rows: a kind's `unscored` says of which steps,
`scoring` asks, step by step, and `kept_rewards` keeps them in the run's output. What roll-outs say (`estimates`) comes
to the rows between the passes, problem by problem; `marks` tell which steps are the same.
"""
