import pytest

from vibehq_nb.core.log import EventLog
from vibehq_server.follower import MAX_REPLAY_ENTRIES, oldest_replayed


def log(count, size=10, head=0, **bounds):
    log = EventLog("ops/main", "e", head=head, **bounds)
    for _ in range(count):
        log.append(b"x" * size, 0)
    return log


def test_what_is_in_memory_is_always_replayed():
    big = log(100, size=100_000, max_bytes=100_000_000)

    assert oldest_replayed(big) == 0


def test_without_anything_in_memory_only_the_count_decides():
    assert oldest_replayed(log(0, head=80_000)) == 80_000 - MAX_REPLAY_ENTRIES
    assert oldest_replayed(log(0)) <= 0


@pytest.mark.parametrize(
    ("size", "behind"), [(100, 41_943), (4096, 1024), (10, 50_000)]
)
def test_beyond_memory_what_would_be_too_many_bytes_is_not_replayed(size, behind):
    kept = log(100, size=size, head=100_000)

    assert oldest_replayed(kept) == kept.head - behind
