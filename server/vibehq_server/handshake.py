"""
What a WebSocket handshake must look like, beside who sends it.

Tornado checks the headers' presence and answers in plain text; a key of any length and
any number of subprotocols pass. All of it is refused here, before the upgrade.
"""

import binascii

from tornado.httputil import HTTPHeaders

from vibehq_server.refusals import Refusal

MAX_SUBPROTOCOLS = 16
MAX_SUBPROTOCOL_BYTES = 1024


def is_upgrade(headers: HTTPHeaders) -> bool:
    """
    Tell whether the request opens a WebSocket; False for a plain one.

    Raises:
        Refusal: 426 if it is half of a handshake, as a proxy leaves it that does not
            know WebSockets.
    """
    if headers.get("Upgrade", "").lower() == "websocket":
        return True
    if "Sec-WebSocket-Key" in headers:
        raise Refusal(
            426,
            "upgrade-required",
            "The Upgrade header is missing; a proxy in front may have dropped it.",
        )
    return False


def check_handshake(headers: HTTPHeaders) -> None:
    """
    Refuse a handshake that RFC 6455 does not allow, or that is out of proportion.

    Raises:
        Refusal: 426 for a version other than 13, else 400.
    """
    connection = headers.get("Connection", "").lower().split(",")
    if "upgrade" not in (word.strip() for word in connection):
        raise _wrong("The Connection header has to be Upgrade.")
    if headers.get("Sec-WebSocket-Version") != "13":
        raise Refusal(
            426, "upgrade-required", "This server speaks WebSocket version 13."
        )
    if not _is_key(headers.get("Sec-WebSocket-Key", "")):
        raise _wrong("Sec-WebSocket-Key has to be 16 bytes in base64.")
    offered = headers.get("Sec-WebSocket-Protocol", "")
    if len(offered) > MAX_SUBPROTOCOL_BYTES or offered.count(",") >= MAX_SUBPROTOCOLS:
        raise _wrong("Too many subprotocols are offered.")


def _is_key(text: str) -> bool:
    try:
        return len(binascii.a2b_base64(text, strict_mode=True)) == 16
    except ValueError:
        return False


def _wrong(text: str) -> Refusal:
    return Refusal(400, "bad-handshake", text)
