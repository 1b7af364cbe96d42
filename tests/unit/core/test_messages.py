"""The golden files of the wire: one message each, read here and by vitest."""

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vibehq_nb.core.codec import Decoder, encode
from vibehq_nb.core.errors import DecodeError
from vibehq_nb.core.messages import (
    DOWNSTREAM,
    FROM_WORKER,
    MESSAGE_TYPES,
    TO_WORKER,
    UPSTREAM,
    Message,
    type_of,
)
from vibehq_nb.core.roles import MAY_SEND

WIRE = Path(__file__).parents[2] / "data" / "wire"
Table = dict[str, tuple[type[Message], ...]]


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((WIRE / f"{name}.json").read_text())
    return found


def decoders(kind: type[Message], *tables: Table) -> dict[str, list[Decoder]]:
    found: dict[str, list[Decoder]] = {}
    for table in tables:
        for party, kinds in table.items():
            if kind in kinds:
                found.setdefault(party, []).append(Decoder(kinds))
    return found


def test_every_message_has_a_golden_file_and_every_file_a_message() -> None:
    assert {path.stem for path in WIRE.glob("*.json")} == set(MESSAGE_TYPES)


@pytest.mark.parametrize("name", sorted(MESSAGE_TYPES))
def test_golden_message_decodes_and_encodes_to_itself(name: str) -> None:
    file = golden(name)
    kind = MESSAGE_TYPES[name]
    up = decoders(kind, UPSTREAM, FROM_WORKER)
    down = decoders(kind, TO_WORKER, DOWNSTREAM)

    assert file["name"] == name
    assert file["parties"] == {"up": sorted(up), "down": sorted(down)}
    for decoder in itertools.chain(*up.values(), *down.values()):
        message = decoder.decode(json.dumps(file["message"]))
        assert type(message) is kind
        assert type_of(message) == file["type"]
        assert json.loads(encode(message)) == file["message"]


@pytest.mark.parametrize("name", sorted(MESSAGE_TYPES))
def test_golden_message_names_every_field(name: str) -> None:
    message = golden(name)["message"]

    wanted = {
        field.encode_name for field in msgspec.structs.fields(MESSAGE_TYPES[name])
    }

    optional = {"id", "session"} & (wanted - set(message))
    assert set(message) - {"type"} == wanted - optional


@pytest.mark.parametrize("table", [UPSTREAM, FROM_WORKER])
def test_every_message_sent_up_has_a_row_in_the_roles(table: Table) -> None:
    for party, kinds in table.items():
        for kind in kinds:
            assert str(kind.__struct_config__.tag) in MAY_SEND[party]


@pytest.mark.parametrize("table", [UPSTREAM, FROM_WORKER, TO_WORKER, DOWNSTREAM])
def test_no_party_has_two_messages_of_one_type(table: Table) -> None:
    for kinds in table.values():
        tags = [kind.__struct_config__.tag for kind in kinds]
        assert len(tags) == len(set(tags))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('{"type":"resize","cols":0,"rows":24}', "bad-message"),
        ('{"type":"resize","cols":501,"rows":24}', "bad-message"),
        ('{"type":"resize","cols":"80","rows":24}', "bad-message"),
        ('{"type":"resize","cols":80}', "bad-message"),
        ('{"type":"ack","offset":-1}', "bad-message"),
        ('{"type":"ack","offset":9007199254740992}', "bad-message"),
        ('{"type":"exited","offset":1}', "unknown-type"),
    ],
)
def test_a_terminal_refuses_what_is_out_of_bounds(frame: str, code: str) -> None:
    with pytest.raises(DecodeError) as caught:
        Decoder(UPSTREAM["terminal"]).decode(frame)

    assert caught.value.code == code
