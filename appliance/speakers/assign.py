"""Which speaker each word is of, from the diarizer's turns and the words' times. Pure."""

from bisect import bisect_left
from collections.abc import Sequence

from appliance.speakers.diarizer import SpeakerTurn
from appliance.speech.types import SENTENCE_ENDS, Speaker, Word

NEAR_S = 1.0
"""A word that lies in no turn is of the nearest one within this, else of the speaker before it."""

_LEAST_WORD_S = 0.02
"""A word whose begin and end coincide is taken for so long: a frame of the recognizer's."""


def speakers_of(
    words: Sequence[Word], turns: Sequence[SpeakerTurn], before: Speaker, known: Sequence[Speaker] = ()
) -> list[Speaker]:
    """A speaker for each word.

    A word is of the speaker whose turns overlap it most; where two speak at once and both cover it, of the one who
    spoke before. One single word of another speaker in the middle of a sentence, said by one speaker before and after
    it, is that one's too: whoever throws in a word is written as a sentence of their own, and the times of words are
    not so exact that one alone would tell.

    Args:
        words: in order.
        turns: by their start; they may overlap.
        before: who spoke before the first word.
        known: speakers of the first words, which stay as they are.
    """
    found = list(known)
    reach = _reach(turns)
    for word in words[len(known) :]:
        before = found[-1] if found else before
        found.append(_speaker(word, turns, reach, before))
    for at in range(max(1, len(known)), len(found) - 1):
        around = found[at - 1]
        if found[at] != around and found[at + 1] == around and not _at_sentence_end(words, at):
            found[at] = around
    return found


def _reach(turns: Sequence[SpeakerTurn]) -> list[float]:
    """For each turn the latest end of it and of all before it, which only rises."""
    reach: list[float] = []
    for turn in turns:
        reach.append(max(turn.end_s, reach[-1]) if reach else turn.end_s)
    return reach


def _speaker(word: Word, turns: Sequence[SpeakerTurn], reach: Sequence[float], before: Speaker) -> Speaker:
    start_s, end_s = word.start_s, max(word.end_s, word.start_s + _LEAST_WORD_S)
    overlap_s: dict[Speaker, float] = {}
    away_s: dict[Speaker, float] = {}
    for turn in turns[bisect_left(reach, start_s - NEAR_S) :]:
        if turn.start_s > end_s + NEAR_S:
            break
        common_s = min(end_s, turn.end_s) - max(start_s, turn.start_s)
        if common_s > 0:
            overlap_s[turn.speaker] = overlap_s.get(turn.speaker, 0.0) + common_s
        elif -common_s <= NEAR_S:
            away_s[turn.speaker] = min(-common_s, away_s.get(turn.speaker, NEAR_S))
    if overlap_s:
        return max(overlap_s, key=lambda speaker: (overlap_s[speaker], speaker == before))
    if away_s:
        return min(away_s, key=lambda speaker: (away_s[speaker], speaker != before))
    return before


def _at_sentence_end(words: Sequence[Word], at: int) -> bool:
    """Whether a sentence ends before the word or with it."""
    return any(word.text.rstrip().endswith(SENTENCE_ENDS) for word in words[at - 1 : at + 1])
