"""Training datasets made of runs.

`runs` reads committed shards; a kind's file (`sft`, `step_dpo`, `dpo`, `prm`) makes rows of a shard (`rows`), `buckets`
brings together what concerns one problem, `duplicates` drops what was there already (`standing`), and the kind chooses
among the rows of whole problems (`choose`). `writing` makes files of them, `card` their README.md, `destination` and
`hub` put them where they belong. Tables are handled as columns throughout; Python looks at single problems, at single
solutions where a problem has several, and never at single attempts.

To add a kind: write `tasks/export/<kind>.py` with `ORDER`, `lacks`, `rows` and `choose`, enter it in `work.BUILDERS`
and `schemas.export.KINDS`, and describe its columns in `schemas/datasets.py`.

Rewards and labels that no run has (the target's steps scored, roll-outs) belong between the passes: rows lie in
`buckets` then, and nothing has looked at a margin or a label yet.
"""
