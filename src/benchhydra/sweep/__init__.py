"""Sweeps: which points run, in which order, on which server; which are skipped; and how each point ended.

``plan/`` turns a command line into groups of points, one group a server. ``launch/`` gives the groups to Hydra's
launchers. ``group/`` is the job that measures one group. ``session`` runs a sweep from its axes to its exit code;
Hydra's sweeper plugin, ``hydra_plugins.benchhydra``, calls it.
"""
