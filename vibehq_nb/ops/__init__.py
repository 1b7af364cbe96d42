"""
The ops monitor: probes look, detectors judge, a scan reports.

A probe does I/O and returns facts, a detector is a pure function over facts, a rule
is one row of a table. ``python -m vibehq_nb.ops`` runs one scan in a process of its
own. Nothing in here imports a server, a client or a PTY.
"""
