from appliance.baking.tokenizer_files import LANGUAGES
from appliance.server.files.languages import NAMES, name


def test_every_language_of_whisper_has_one_name_of_its_own() -> None:
    assert tuple(NAMES) == LANGUAGES
    assert len(set(NAMES.values())) == len(NAMES)
    assert all(given == given.lower() and given.replace(" ", "").isalpha() for given in NAMES.values())


def test_a_language_that_only_one_model_knows_keeps_its_code() -> None:
    assert (name("zh"), name("ht"), name("gsw")) == ("chinese", "haitian creole", "gsw")
