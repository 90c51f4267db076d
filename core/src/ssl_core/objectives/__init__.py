"""Objectives: `objective(*rows) -> ()` on aligned rows, each (N, D). Row i of one view belongs to row i of the others.

What the signature of `forward` asks for, the composer gives:

- `forward(self, a, b)` compares a pair; it is averaged over all pairs of views.
- `forward(self, *views)` takes all views at once.
- `forward(self, *views, targets=())` also takes the rows of the teacher: target j belongs to view j. Without targets the
  views, held still, stand for them.
- a keyword `ids` gets the numbers of the items, (N,), where the data have them (`Data.ids`).
- a keyword `labels` gets the labels of the items, (N,); a keyword `weights` what a method that weighs items says of them.

What it has as a method is called: `allocate(width)` once, before training, where it keeps rows of a width D (a queue,
prototypes, a head); `after_step()` after each step of the optimizer. An attribute `progress = Progress()` of its class is
kept up to date. Where the batch is split over processes, rows are gathered (`ssl_core.distributed`); `gathers = True` says
that the loss and its gradient are then those of the joined batch, and `views` how many views it needs where two will not do.
Both are looked at by `sslrun check`.
"""
