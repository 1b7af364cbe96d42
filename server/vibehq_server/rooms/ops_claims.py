"""
Whose finding is which: a worker speaks for itself alone. No I/O.

A resource whose uid names a worker's host is that worker's. Of any other, whoever
reported it first.
"""

from collections.abc import Collection, Mapping
from urllib.parse import unquote

from vibehq_nb.core.findings import Finding
from vibehq_server.rooms.ops_board import Known


def claim(
    reported: Mapping[str, Collection[Finding]],
    known: Mapping[str, Known],
    workers: Collection[str],
) -> dict[str, list[Finding]]:
    """
    Return which of the *reported* findings are taken, by worker.

    Args:
        reported: What each worker says it found.
        known: What is known, by fingerprint, with its owner.
        workers: Every worker there is, connected or not.
    """
    others = {*workers, *reported, *(item.worker for item in known.values())}
    honest = {
        worker: [f for f in findings if not _hosts_of(f) & (others - {worker})]
        for worker, findings in reported.items()
    }
    owners = {key: item.worker for key, item in known.items()}
    for worker, findings in honest.items():
        for finding in findings:
            if _host_in(finding.resource.uid) == worker:
                owners[finding.fingerprint] = worker
            else:
                owners.setdefault(finding.fingerprint, worker)
    return {
        worker: [f for f in findings if owners[f.fingerprint] == worker]
        for worker, findings in honest.items()
    }


def _hosts_of(finding: Finding) -> set[str]:
    resource = finding.resource
    return {finding.host, resource.host, _host_in(resource.uid)}


def _host_in(uid: str) -> str:
    """Return the host in a uid of the form ``kind:host:name``, "" for another."""
    parts = uid.split(":", 2)
    return unquote(parts[1]) if len(parts) == 3 else ""
