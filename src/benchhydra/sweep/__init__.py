"""Sweeps: which points run in which order on which server, what is skipped, and how each point ended.

``plan/`` turns a command line into groups of points, one for each server. ``launch/`` hands the groups to Hydra's
launchers. ``group/`` is the job that measures one of them. ``session`` runs a sweep from its axes to its exit code.
Hydra's sweeper plugin, ``hydra_plugins.benchhydra``, only calls it.
"""
