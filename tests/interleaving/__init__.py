"""Callboard's processes, stopped at any statement or request, in an order that Hypothesis writes.

The world: two processes (the real submitter, sweeper, receiver, placer and acts), a pretend fal and
an operator, all on one event loop whose clock stands still (`clockwork`), over the real Postgres.
Each statement passes a `wire` and each request to fal a server, and both stop at the `gate` until
the story says how they go on: they are carried out, cut off before or after, or their transaction
is left open. A process may be killed at any point; time passes in the data. What fal is asked, and
what becomes of its renders, is in `fal`; what it calls back in `calls`.
A `story` begins with one or two jobs, or in the middle of what seldom comes about by itself
(`starts`), goes on as it likes, and in the end everybody goes on until every job has come to its
end (`ends`). After each step everything in the database must be as `truths`, `books` and `memory`
have it. The same seed tells the same story again.
"""
