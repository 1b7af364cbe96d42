"""Where a worker finds its server."""

from pathlib import Path

import pytest

from vibehq_nb.core.errors import UsageError
from vibehq_nb.worker.endpoint import Endpoint, EndpointSource


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://127.0.0.1:8900", "ws://127.0.0.1:8900/parties/terminal/w:a?_pk=c"),
        (
            "https://hq/user/bob/vibehq/",
            "wss://hq/user/bob/vibehq/parties/terminal/w:a?_pk=c",
        ),
    ],
)
def test_socket_url_keeps_the_base(url: str, wanted: str) -> None:
    assert Endpoint(url, "key").socket_url("terminal", "w:a", "c") == wanted


def test_a_room_name_is_percent_encoded() -> None:
    url = Endpoint("http://h", "key").socket_url("terminal", "w:a b/é", "c")

    assert url == "ws://h/parties/terminal/w:a%20b%2F%C3%A9?_pk=c"


def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    source = EndpointSource(tmp_path)
    with pytest.raises(UsageError, match="there is no"):
        source.read()
    file = tmp_path / "endpoint.json"
    file.write_text('{"url": "http://a", "worker_key": "1", "pid": 3}')
    assert source.read() == Endpoint("http://a", "1")
    file.write_text('{"url": "http://b", "worker_key": "2", "pid": 4}')

    assert source.read() == Endpoint("http://b", "2")
    assert source.read().headers == {"Authorization": "Bearer 2"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "http://a"}'])
def test_a_broken_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "endpoint.json").write_text(text)

    with pytest.raises(UsageError, match="names no url and worker_key"):
        EndpointSource(tmp_path).read()


def test_a_fixed_server_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIBEHQ_WORKER_KEY", raising=False)
    with pytest.raises(UsageError, match="VIBEHQ_WORKER_KEY"):
        EndpointSource(url="http://h")
    monkeypatch.setenv("VIBEHQ_WORKER_KEY", "k")

    assert EndpointSource(url="http://h").read() == Endpoint("http://h", "k")


def test_somewhere_must_be_said() -> None:
    with pytest.raises(UsageError, match="--data DIR or --url URL"):
        EndpointSource()
