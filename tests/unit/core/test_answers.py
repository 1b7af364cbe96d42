from vibehq_nb.core.answers import IDS_KEPT, SENDERS_KEPT, Answers


def test_a_repeat_gets_its_first_answer():
    answers = Answers()
    answers.note("ana/1", "a", 7)

    assert answers.find("ana/1", "a") == 7
    assert answers.find("ana/2", "a") is None
    assert answers.find("ana/1", "b") is None


def test_the_oldest_ids_and_the_most_silent_senders_are_forgotten():
    answers = Answers()
    for number in range(IDS_KEPT + 1):
        answers.note("ana/1", str(number), number)
    for number in range(SENDERS_KEPT):
        answers.note(f"bob/{number}", "x", number)

    assert answers.find("ana/1", str(IDS_KEPT)) is None
    assert answers.find("bob/0", "x") == 0


def test_state_round_trips():
    answers = Answers()
    answers.note("ana/1", "a", 7)

    assert Answers(answers.as_state()).find("ana/1", "a") == 7
