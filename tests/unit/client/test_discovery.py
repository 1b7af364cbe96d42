"""Which server is found, and that tokens stay with the address they were given for."""

import json
from pathlib import Path

import pytest

from vibehq_nb.client.discovery import find_server, stored_token
from vibehq_nb.client.errors import NoServerError
from vibehq_nb.client.http import Server, normal_url
from vibehq_nb.core.errors import UsageError


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for pid, base in ((11, "/"), (22, "/user/bob/")):
        found = {
            "pid": pid,
            "url": f"http://127.0.0.1:88{pid}{base}",
            "token": f"t{pid}",
        }
        (runtime / f"jpserver-{pid}.json").write_text(json.dumps(found))
    (runtime / "jpserver-33.json").write_text("half a fi")
    return {"HOME": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(runtime)}


def test_the_jupyter_server_that_started_this_kernel_is_found(
    env: dict[str, str],
) -> None:
    found = find_server(None, {**env, "JPY_PARENT_PID": "22"})

    assert found == Server("http://127.0.0.1:8822/user/bob/vibehq", "t22", "token")


@pytest.mark.parametrize("parent", [{}, {"JPY_PARENT_PID": "44"}])
def test_somebody_elses_server_is_never_taken(
    env: dict[str, str], parent: dict[str, str]
) -> None:
    with pytest.raises(NoServerError):
        find_server(None, {**env, **parent})


def test_the_environment_goes_before_jupyter(env: dict[str, str]) -> None:
    env |= {"JPY_PARENT_PID": "22", "VIBEHQ_URL": "http://hq:8900/"}
    env["VIBEHQ_TOKEN"] = "grant"

    assert find_server(None, env) == Server("http://hq:8900", "grant", "Bearer")


def test_the_argument_goes_before_the_environment(env: dict[str, str]) -> None:
    env |= {"VIBEHQ_URL": "http://hq:8900", "VIBEHQ_TOKEN": "grant"}

    found = find_server("https://other.example.org", env)

    assert found.url == "https://other.example.org"


def test_a_token_for_one_address_is_not_sent_to_another(env: dict[str, str]) -> None:
    env |= {"VIBEHQ_URL": "http://hq:8900", "VIBEHQ_TOKEN": "grant"}

    assert find_server("https://evil.example.org", env).token == ""
    assert find_server("http://hq:8900/", env).token == "grant"


def test_naming_jupyters_own_address_uses_its_token(env: dict[str, str]) -> None:
    env["JPY_PARENT_PID"] = "22"

    found = find_server("http://127.0.0.1:8822/user/bob/", env)

    assert found.token == "t22"
    assert found.url.endswith("/user/bob/vibehq")


def test_what_login_stored_is_used_for_its_address_only(env: dict[str, str]) -> None:
    path = Path(env["HOME"], ".config", "vibehq", "credentials.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"servers": {"https://hq": {"token": "stored"}}}))

    assert find_server("https://hq/", env).token == "stored"
    assert stored_token("https://other", env) == ""


def test_a_hubs_environment_is_used(env: dict[str, str]) -> None:
    env |= {
        "JUPYTERHUB_API_TOKEN": "hub",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ana/",
        "JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:8888/user/ana/",
    }

    assert find_server(None, env) == Server(
        "http://127.0.0.1:8888/user/ana/vibehq", "hub", "token"
    )


def test_without_a_server_the_error_names_all_that_helps(env: dict[str, str]) -> None:
    env["JPY_PARENT_PID"] = "44"

    with pytest.raises(NoServerError) as caught:
        find_server(None, env)

    text = str(caught.value)
    assert "pid 44" in text
    assert '-m pip install "vibehq-nb[lab]"' in text
    assert "vibehq serve" in text
    assert "VIBEHQ_URL" in text
    assert 'vibehq_nb.connect("https://' in text


@pytest.mark.parametrize("text", ["hq:8900", "ftp://hq", "", "//hq", "http://"])
def test_what_is_no_address_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="is no server address"):
        normal_url(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://hq:8900/", "http://hq:8900"),
        ("https://hq/base/?token=x#y", "https://hq/base"),
        ("http://user:secret@hq", "http://hq"),
        ("http://[::1]:8900/", "http://[::1]:8900"),
    ],
)
def test_an_address_is_kept_without_query_and_user(text: str, url: str) -> None:
    assert normal_url(text) == url


def test_a_token_never_shows_in_a_repr() -> None:
    assert "secret" not in repr(Server("http://hq", "secret"))


def test_a_sockets_address_holds_no_token() -> None:
    server = Server("https://hq/base", "secret")

    url = server.socket_url("terminal", "web 1:two", {"_pk": "a b"})

    assert url == "wss://hq/base/parties/terminal/web%201:two?_pk=a+b"
