import random
from collections import Counter

from appliance.soak.acts import TROUBLES, choose
from appliance.soak.sounds import FORMS


def test_a_seed_makes_the_same_choices() -> None:
    one, other = random.Random("7 1"), random.Random("7 1")
    assert [choose(one, 5) for _ in range(50)] == [choose(other, 5) for _ in range(50)]
    assert [choose(one, 5) for _ in range(50)] != [choose(random.Random("7 2"), 5) for _ in range(50)]


def test_all_of_it_happens() -> None:
    chance = random.Random(1)
    acts = [choose(chance, 5) for _ in range(1000)]
    assert {act.play for act in acts} == set(range(5))
    assert Counter(act.trouble for act in acts).keys() == TROUBLES.keys()
    assert {act.form for act in acts} == set(FORMS)
    assert {act.mode for act in acts} == {"diff", "full"} and {act.auto for act in acts} == {True, False}
    assert all(0 < act.at < 1 and 0 < act.seconds < 10 for act in acts)
