from appliance.bench.events import EventLog, WordEvent, word_events


def logged(*updates: tuple[float, str, str]) -> EventLog:
    log = EventLog()
    for at_s, committed, tentative in updates:
        log.add(at_s, committed, tentative)
    return log


def test_only_what_changed_is_kept() -> None:
    log = logged((1, "He was", "not"), (2, "He was", "not"), (3, "He was not", "an"), (4, "He is", ""))
    assert [(event.at_s, event.kept, event.added) for event in log.events] == [
        (1, 0, "He was"),
        (3, 6, " not"),
        (4, 3, "is"),
    ]
    assert (log.committed, log.shown) == ("He is", "He is")


def test_committed_words_as_they_come() -> None:
    log = logged((1, "He was", "not"), (2, "He was", "not an"), (3, "He was not", "an ill"))
    assert list(word_events(log.events, "en", shown=False)) == [
        WordEvent(1, 0, ("he", "was"), 0),
        WordEvent(3, 2, ("not",), 0),
    ]


def test_shown_words_as_they_change() -> None:
    log = logged((1, "", "He was"), (2, "He", "is not"), (3, "He is not", ""), (4, "He is not ill", "disposed"))
    assert list(word_events(log.events, "en", shown=True)) == [
        WordEvent(1, 0, ("he", "was"), 0),
        WordEvent(2, 1, ("is", "not"), 1),
        WordEvent(4, 3, ("ill", "disposed"), 0),
    ]


def test_a_committed_word_that_changes_was_taken_back_with_all_after_it() -> None:
    log = logged((1, "one two three four", ""), (2, "one too three four", ""), (3, "one", ""))
    assert [(event.kept, event.added, event.taken_back) for event in word_events(log.events, "en", shown=False)] == [
        (0, ("one", "two", "three", "four"), 0),
        (1, ("too", "three", "four"), 3),
        (1, (), 3),
    ]


def test_a_word_that_grows_at_its_end_is_another_word() -> None:
    log = logged((1, "he can", ""), (2, "he cannot be", ""))
    assert list(word_events(log.events, "en", shown=False))[-1] == WordEvent(2, 1, ("cannot", "be"), 1)


def test_case_and_marks_are_no_change() -> None:
    log = logged((1, "", "the end"), (2, "The end.", ""))
    assert len(list(word_events(log.events, "en", shown=True))) == 1


def test_chinese_is_followed_by_character() -> None:
    log = logged((1, "天地", "玄"), (2, "天地玄黄", ""), (3, "天地玄黄 宇", ""))
    assert list(word_events(log.events, "zh", shown=False)) == [
        WordEvent(1, 0, ("天", "地"), 0),
        WordEvent(2, 2, ("玄", "黄"), 0),
        WordEvent(3, 4, ("宇",), 0),
    ]
