from vibehq_server.gate import OutputGate


def test_an_open_gate_lets_output_pass_at_once():
    said = []

    OutputGate(3).do(lambda: said.append("hello"))

    assert said == ["hello"]


def test_output_waits_for_the_append_it_follows_and_keeps_its_order():
    gate, said = OutputGate(), []
    gate.appended = 1
    gate.do(lambda: said.append("after 1"))
    gate.appended = 2
    gate.do(lambda: said.append("after 2"))

    gate.release(1)
    assert said == ["after 1"]

    gate.release(2)
    assert said == ["after 1", "after 2"]
    assert gate.is_open


def test_what_was_held_does_not_happen_when_the_log_refuses():
    gate, said = OutputGate(), []
    gate.appended = 1
    gate.do(lambda: said.append("accepted"), lambda: said.append("refused"))
    gate.do(lambda: said.append("silent"))

    gate.drop(0)

    assert said == ["refused"]
    assert gate.is_open
