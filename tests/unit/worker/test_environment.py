"""Which variables of the worker's environment nothing it starts may see."""

import pytest

from vibehq_nb.worker.environment import forget_secrets, is_secret


@pytest.mark.parametrize(
    "name",
    [
        "VIBEHQ_TOKEN",
        "VIBEHQ_WORKER_KEY",
        "JUPYTER_TOKEN",
        "JUPYTERHUB_API_TOKEN",
        "JPY_API_TOKEN",
        "CONFIGPROXY_AUTH_TOKEN",
    ],
)
def test_keys_and_tokens_of_ours_and_of_jupyter_are_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["VIBEHQ_URL", "JUPYTERHUB_USER", "JUPYTER_PATH", "MY_TOKEN", "PATH"]
)
def test_what_is_the_users_is_not(name: str) -> None:
    assert not is_secret(name)


def test_secrets_are_forgotten_and_the_rest_stays() -> None:
    environment = {"JUPYTERHUB_API_TOKEN": "a", "VIBEHQ_TOKEN": "b", "PATH": "/bin"}

    forget_secrets(environment)

    assert environment == {"PATH": "/bin"}
