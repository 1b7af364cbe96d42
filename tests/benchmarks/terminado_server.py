"""terminado alone, as its documentation shows it: ``python -m … PORT``."""

import asyncio
import sys

import tornado.web
from terminado import NamedTermManager, TermSocket


async def main(port: int) -> None:
    """Serve ``/terminals/websocket/{name}`` until ended."""
    manager = NamedTermManager(shell_command=["bash"], max_terminals=100)
    path = r"/terminals/websocket/(\w+)"
    app = tornado.web.Application([(path, TermSocket, {"term_manager": manager})])
    app.listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
