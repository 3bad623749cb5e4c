"""The state of one home partition, a part in each module, and what folds it anew or on trial.

It may import the fold, routes, cells, what changelogs carry, the event index, and the value
packages of `app`.
"""
