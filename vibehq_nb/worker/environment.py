"""What of the worker's environment stays with the worker."""

import re
from collections.abc import MutableMapping

_SECRET = re.compile(
    r"VIBEHQ_.*(KEY|TOKEN|SECRET|TICKET|JOIN)|(JUPYTER|JUPYTERHUB|JPY|CONFIGPROXY)_.*TOKEN"
)


def is_secret(name: str) -> bool:
    """Tell whether the variable *name* holds a key or token of ours or of Jupyter."""
    return _SECRET.match(name) is not None


def forget_secrets(environment: MutableMapping[str, str]) -> None:
    """Take every secret out of *environment*."""
    for name in [name for name in environment if is_secret(name)]:
        del environment[name]
