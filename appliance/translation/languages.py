"""Languages of a translation model, as Whisper calls them and as the model does."""

import re
from collections.abc import Collection

from appliance.errors import ApplianceError

# Languages of Whisper and their codes in FLORES-200: ISO 639-3 and script, as of the list in the data set's README. Of
# a macrolanguage it has one member, the one most spoken or written; of Breton, Hawaiian and Latin nothing.
FLORES = {
    "af": "afr_Latn", "am": "amh_Ethi", "ar": "arb_Arab", "as": "asm_Beng", "az": "azj_Latn", "ba": "bak_Cyrl",
    "be": "bel_Cyrl", "bg": "bul_Cyrl", "bn": "ben_Beng", "bo": "bod_Tibt", "bs": "bos_Latn", "ca": "cat_Latn",
    "cs": "ces_Latn", "cy": "cym_Latn", "da": "dan_Latn", "de": "deu_Latn", "el": "ell_Grek", "en": "eng_Latn",
    "es": "spa_Latn", "et": "est_Latn", "eu": "eus_Latn", "fa": "pes_Arab", "fi": "fin_Latn", "fo": "fao_Latn",
    "fr": "fra_Latn", "gl": "glg_Latn", "gu": "guj_Gujr", "ha": "hau_Latn", "he": "heb_Hebr", "hi": "hin_Deva",
    "hr": "hrv_Latn", "ht": "hat_Latn", "hu": "hun_Latn", "hy": "hye_Armn", "id": "ind_Latn", "is": "isl_Latn",
    "it": "ita_Latn", "ja": "jpn_Jpan", "jw": "jav_Latn", "ka": "kat_Geor", "kk": "kaz_Cyrl", "km": "khm_Khmr",
    "kn": "kan_Knda", "ko": "kor_Hang", "lb": "ltz_Latn", "ln": "lin_Latn", "lo": "lao_Laoo", "lt": "lit_Latn",
    "lv": "lvs_Latn", "mg": "plt_Latn", "mi": "mri_Latn", "mk": "mkd_Cyrl", "ml": "mal_Mlym", "mn": "khk_Cyrl",
    "mr": "mar_Deva", "ms": "zsm_Latn", "mt": "mlt_Latn", "my": "mya_Mymr", "ne": "npi_Deva", "nl": "nld_Latn",
    "nn": "nno_Latn", "no": "nob_Latn", "oc": "oci_Latn", "pa": "pan_Guru", "pl": "pol_Latn", "ps": "pbt_Arab",
    "pt": "por_Latn", "ro": "ron_Latn", "ru": "rus_Cyrl", "sa": "san_Deva", "sd": "snd_Arab", "si": "sin_Sinh",
    "sk": "slk_Latn", "sl": "slv_Latn", "sn": "sna_Latn", "so": "som_Latn", "sq": "als_Latn", "sr": "srp_Cyrl",
    "su": "sun_Latn", "sv": "swe_Latn", "sw": "swh_Latn", "ta": "tam_Taml", "te": "tel_Telu", "tg": "tgk_Cyrl",
    "th": "tha_Thai", "tk": "tuk_Latn", "tl": "tgl_Latn", "tr": "tur_Latn", "tt": "tat_Cyrl", "uk": "ukr_Cyrl",
    "ur": "urd_Arab", "uz": "uzn_Latn", "vi": "vie_Latn", "yi": "ydd_Hebr", "yo": "yor_Latn", "yue": "yue_Hant",
    "zh": "zho_Hans",
}  # fmt: skip

_M2M = {"jw": "jv", "nn": "no"}
"""Where M2M100 has another code than Whisper, or one for both kinds of Norwegian."""

_NLLB_TOKEN = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
_M2M_TOKEN = re.compile(r"__([a-z]{2,3})__")


class Languages:
    """The languages of one model, from the tokens of its vocabulary: ``deu_Latn`` (NLLB) or ``__de__`` (M2M100).

    ``codes``: what may be asked for, Whisper's codes first; then FLORES codes of what those don't name.
    """

    def __init__(self, vocabulary: Collection[str]) -> None:
        nllb = [token for token in vocabulary if _NLLB_TOKEN.fullmatch(token)]
        short = {found[1]: found[0] for token in vocabulary if (found := _M2M_TOKEN.fullmatch(token))}
        known = {token.lower(): token for token in nllb}
        codes = {code: flores for code, flores in FLORES.items() if flores in nllb}
        for code in (*FLORES, *short):
            if token := short.get(_M2M.get(code, code)):
                codes[code] = token
        self._tokens = codes | known | {FLORES[code].lower(): codes[code] for code in codes if code in FLORES}
        others = sorted(set(nllb) - set(codes.values()))
        self.codes = (*sorted(codes), *others)

    def check(self, target: str) -> None:
        """Raise an `ApplianceError`, code ``unsupported_language``, unless it can be translated into."""
        if self.token(target) is None:
            raise ApplianceError(
                f"no translation into {target[:40]!r}", f"one of: {', '.join(self.codes)}", code="unsupported_language"
            )

    def token(self, code: str) -> str | None:
        """What the model calls a language, given by Whisper's code or that of FLORES; None if it knows it not."""
        return self._tokens.get(code.lower())
