import random
from collections import Counter
from itertools import islice

from appliance.soak.acts import TROUBLES, acts, choose
from appliance.soak.sounds import EXACT, FORMS


def test_a_seed_makes_the_same_choices() -> None:
    first = list(islice(acts(7, 1, 5), 50))
    assert list(islice(acts(7, 1, 5), 50)) == first
    assert list(islice(acts(7, 2, 5), 50)) != first and list(islice(acts(8, 1, 5), 50)) != first
    assert all(0 <= rest_s <= 2 for _, rest_s in first)


def test_all_of_it_happens() -> None:
    chance = random.Random(1)
    chosen = [choose(chance, 5) for _ in range(1000)]
    assert {act.play for act in chosen} == set(range(5))
    assert Counter(act.trouble for act in chosen).keys() == TROUBLES.keys()
    assert {act.form for act in chosen} == set(FORMS)
    assert not {act.form for act in chosen if act.trouble == "broken"} & set(EXACT)
    assert {act.mode for act in chosen} == {"diff", "full"} and {act.auto for act in chosen} == {True, False}
    assert all(0 < act.at < 1 and 0 < act.seconds < 10 for act in chosen)
