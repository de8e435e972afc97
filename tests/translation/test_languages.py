import pytest

from appliance.errors import ApplianceError
from appliance.translation.languages import FLORES, Languages

NLLB = Languages(["<s>", "▁Haus", "deu_Latn", "eng_Latn", "jav_Latn", "zho_Hans", "zho_Hant", "madeupword0"])
M2M = Languages(["<s>", "▁Haus", "__de__", "__en__", "__jv__", "__no__", "__ast__", "__zh__"])


def test_each_kind_is_asked_by_codes_of_whisper() -> None:
    assert [NLLB.token(code) for code in ("de", "jw", "zh")] == ["deu_Latn", "jav_Latn", "zho_Hans"]
    assert [M2M.token(code) for code in ("de", "jw", "zh", "nn")] == ["__de__", "__jv__", "__zh__", "__no__"]


def test_codes_of_flores_are_taken_by_both() -> None:
    assert NLLB.token("zho_Hant") == NLLB.token("zho_hant") == "zho_Hant"
    assert M2M.token("deu_Latn") == "__de__"


def test_a_language_that_the_model_lacks() -> None:
    assert NLLB.token("fr") is None and M2M.token("zho_Hant") is None and NLLB.token("auto") is None
    with pytest.raises(ApplianceError, match="no translation into 'fr'") as caught:
        NLLB.check("fr")
    assert caught.value.code == "unsupported_language"
    assert caught.value.hint == "one of: de, en, jw, zh, zho_Hant"


def test_a_vocabulary_without_languages_has_none() -> None:
    assert Languages(["<s>", "▁Haus", "__", "Deu_latn"]).codes == ()


def test_the_table_names_each_language_once() -> None:
    assert len(FLORES) == len(set(FLORES.values())) == 97
