"""Monte-Carlo roll-outs: what becomes of solutions that go on from a step (Math-Shepherd, arXiv 2312.08935).

`choosing` finds steps of a run and makes a problem set of them, each row with the steps so far; `directory` keeps it,
with what was asked; `configured` makes the configuration of an ordinary run that goes on from there. What that run's
solutions say of the steps is read by `tasks.export.estimates`, wherever labels are wanted.
"""
