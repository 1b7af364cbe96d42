"""``vibehq serve``."""

import argparse
import asyncio
import shlex
import signal
from pathlib import Path
from typing import Any

from vibehq_server.cli.output import say
from vibehq_server.logs import start_logging
from vibehq_server.settings import (
    KEPT,
    Settings,
    decode_keep,
    default_data,
    settings_from_environment,
)

_OPTIONS = {
    "host": "host",
    "port": "port",
    "allowed_host": "allowed_hosts",
    "origin": "origins",
    "behind_proxy": "behind_proxy",
    "tls_cert": "tls_cert",
    "tls_key": "tls_key",
    "rooms": "rooms",
    "with_worker": "with_worker",
    "log_format": "log_format",
    "record": "record",
}


def settings_of(arguments: argparse.Namespace) -> Settings:
    """
    Return the settings: options, then the environment, then defaults.

    Raises:
        UsageError: If one is unsafe or cannot work.
    """
    values: dict[str, Any] = settings_from_environment()
    for option, field in _OPTIONS.items():
        given = getattr(arguments, option)
        if given is not None:
            values[field] = tuple(given) if isinstance(given, list) else given
    for field in KEPT:
        if (text := getattr(arguments, field)) is not None:
            values[field] = decode_keep(f"--{field.replace('_', '-')}", field, text)
    for field in ("tls_cert", "tls_key"):
        if values.get(field) is not None:
            values[field] = Path(values[field])
    data = Path(arguments.data) if arguments.data else default_data("standalone")
    settings = Settings(data.expanduser().absolute(), **values)
    settings.check()
    return settings


def serve(arguments: argparse.Namespace) -> int:
    """Serve until a signal; returns 0 after a clean stop."""
    settings = settings_of(arguments)
    start_logging(settings.log_format)
    asyncio.run(_serve(settings))
    return 0


async def _serve(settings: Settings) -> None:
    from vibehq_server.app import start
    from vibehq_server.log_file import retention_text
    from vibehq_server.recordings.keeping import recordings_text

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await start(settings)
    say(f"VibeHQ is at {server.url}/ with its data in {settings.data}")
    say(retention_text(settings))
    say(recordings_text(settings))
    say(f"Sign in once, within ten minutes: {server.make_login_link()}")
    own = settings.data != default_data("standalone").expanduser().absolute()
    more = f" --data {shlex.quote(str(settings.data))}" if own else ""
    say(f"Another link: vibehq login-link{more}. Stop with Ctrl-C.")
    try:
        await stopped.wait()
    finally:
        await server.stop()
    say("Stopped. Clients come back by themselves when it starts again.")
