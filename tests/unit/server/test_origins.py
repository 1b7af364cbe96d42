import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.errors import UsageError
from vibehq_server.auth.origins import (
    AllowList,
    Host,
    Origin,
    decode_host,
    decode_origin,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8900", Host("127.0.0.1", 8900)),
        ("LOCALHOST", Host("localhost", None)),
        ("[::1]:80", Host("[::1]", 80)),
        ("[::1]", Host("[::1]", None)),
        ("a.example.com", Host("a.example.com", None)),
        ("", None),
        (":80", None),
        ("a:", None),
        ("a:0", None),
        ("a:65536", None),
        ("a:8o", None),
        ("a@b", None),
        ("a b", None),
        ("*.a", None),
        ("a/b", None),
    ],
)
def test_a_host_is_a_name_and_a_port_or_nothing(
    text: str, expected: Host | None
) -> None:
    assert decode_host(text) == expected


def test_the_default_port_of_an_origin_follows_its_scheme() -> None:
    assert decode_origin("https://a.example") == Origin("https", "a.example", 443)
    assert decode_origin("http://a.example:80") == decode_origin("http://a.example")
    assert decode_origin("ftp://a.example") is None


@given(st.text(max_size=40))
def test_no_text_but_the_exact_origin_is_ours(text: str) -> None:
    allowed = AllowList.of_server("127.0.0.1", 8900, "http")
    exact = {f"http://{n}:8900" for n in ("127.0.0.1", "localhost", "[::1]")}
    assert allowed.has_origin(text) == (text.lower() in exact)


def test_the_page_of_an_origin_option_may_use_but_does_not_name_the_server() -> None:
    allowed = AllowList.of_server(
        "127.0.0.1", 8900, "http", origins=("https://lab.example.com",)
    )
    assert allowed.has_origin("https://lab.example.com")
    assert not allowed.has_host("lab.example.com")


@pytest.mark.parametrize("pattern", ["*", "https://*.example.com", "example.com"])
def test_patterns_are_no_origins(pattern: str) -> None:
    with pytest.raises(UsageError, match="exact origin"):
        AllowList.of_server("127.0.0.1", 1, "http", origins=(pattern,))
