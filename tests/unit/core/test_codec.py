import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.codec import (
    MAX_DEPTH,
    MAX_INTEGER,
    Decoder,
    decode_plain,
    encode,
    encode_canonical,
)
from vibehq_nb.core.errors import DecodeError
from vibehq_nb.core.messages import AskApproval, Decide, Emit, Resize, Subscribe

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


def refused(code: str = "bad-message"):
    return pytest.raises(DecodeError, check=lambda error: error.code == code)


@given(st.dictionaries(st.text(), PLAIN, max_size=3), st.text(min_size=1, max_size=256))
def test_encode_and_decode_are_each_others_reverse(data, name):
    message = Emit(name=name, data=data)

    assert Decoder([Emit, Subscribe]).decode(encode(message)) == message


@given(PLAIN)
def test_plain_values_survive(value):
    assert decode_plain(json.dumps(value)) == value


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{",
        "[]",
        "1",
        '"resize"',
        '{"cols":1,"rows":1}',
        '{"type":5}',
        '{"type":"resize","cols":1,"cols":2,"rows":1}',
        '{"type":"resize","cols":NaN,"rows":1}',
        '{"type":"resize","cols":1e999,"rows":1}',
        '{"type":"resize","cols":9007199254740992,"rows":1}',
        '{"type":"resize","cols":0,"rows":1}',
        '{"type":"resize","cols":501,"rows":1}',
        '{"type":"resize","cols":"80","rows":1}',
        '{"type":"resize","cols":80.5,"rows":1}',
        '{"type":"resize","cols":80}',
        '{"type":"event","name":"\\ud800"}',
        '{"type":"event","name":"x","data":' + "[" * 17 + "]" * 17 + "}",
        b'{"type":"event","name":"\xff"}',
    ],
)
def test_what_is_not_exact_is_a_bad_message(frame):
    with refused():
        Decoder([Resize, Emit]).decode(frame)


def test_a_type_of_another_room_is_unknown():
    with refused("unknown-type"):
        Decoder([Resize]).decode('{"type":"event","name":"x"}')


def test_depth_is_counted_in_brackets_not_in_text():
    deepest = {"type": "event", "name": "[" * 50 + '"\\', "data": {}}
    for _ in range(MAX_DEPTH - 2):
        deepest["data"] = {"d": deepest["data"]}
    Decoder([Emit]).decode(json.dumps(deepest))

    with refused():
        deepest["data"] = {"d": deepest["data"]}
        Decoder([Emit]).decode(json.dumps(deepest))


def test_a_hostile_nest_costs_no_recursion():
    with refused():
        Decoder([Emit]).decode("[" * 1_000_000)


def test_unknown_fields_are_ignored_on_read_and_refused_on_decisions():
    Decoder([Resize]).decode('{"type":"resize","cols":1,"rows":1,"more":1}')

    fields = {
        "type": "hil-decision",
        "approval_id": "a",
        "version": 1,
        "verdict": "approve",
        "action_digest": "0" * 64,
        "key": "k",
    }
    Decoder([Decide]).decode(json.dumps(fields))
    with refused():
        Decoder([Decide]).decode(json.dumps({**fields, "more": 1}))
    with refused():
        ask = {"type": "hil-request", "question": "?", "action": {}, "kind": "review"}
        Decoder([AskApproval]).decode(json.dumps({**ask, "x": 1}))


def test_a_refusal_names_the_field_and_not_its_content():
    with refused() as caught:
        Decoder([Resize]).decode('{"type":"resize","cols":"hunter2","rows":1}')

    assert "cols" in caught.value.reason
    assert "hunter2" not in caught.value.reason


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_canonical_json_does_not_depend_on_order(value):
    turned = dict(reversed(value.items()))

    assert encode_canonical(turned) == encode_canonical(value)
    assert json.loads(encode_canonical(value)) == value


def test_canonical_json_is_compact_sorted_utf8():
    assert encode_canonical({"b": [1, True, None], "a": "é"}) == (
        '{"a":"é","b":[1,true,null]}'.encode()
    )


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, {1: 2}, "\ud800", {"\ud800": 1}, 2**53, {1, 2}, b"x"],
)
def test_what_json_cannot_carry_has_no_canonical_form(value):
    with pytest.raises(DecodeError):
        encode_canonical(value)


def test_a_value_that_holds_itself_has_no_canonical_form():
    loop: list = []
    loop.append(loop)

    with pytest.raises(DecodeError):
        encode_canonical(loop)
