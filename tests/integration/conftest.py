"""What several files of tests begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vibehq_server.recordings.store import RecordingStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordingStore]:
    """Recordings in a folder of their own."""
    kept = RecordingStore(tmp_path / "recordings")
    yield kept
    kept.close()
