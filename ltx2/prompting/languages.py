"""Which language a text is written in: a guess by script, frequent words and letters.

Meant for hints, where no answer is better than a wrong one.
"""

import re
from functools import lru_cache

LANGUAGES: dict[str, str] = {
    "en": "English",
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "pt": "Portuguese",
    "ja": "Japanese",
    "ko": "Korean",
    "zh": "Chinese",
    "ar": "Arabic",
}
CODES = {name: code for code, name in LANGUAGES.items()}
UNKNOWN = "unknown"

FREQUENT_WORDS: dict[str, frozenset[str]] = {
    code: frozenset(words.split())
    for code, words in {
        "en": """the and of to a in is are was were be been it its that this these those with on at
            for from by as an or not but have has had do does did will would can could should i you
            he she we they me him her us them my your his our their what who where when why how
            there here then than so if all no yes hello hi goodbye bye please thanks thank sorry
            good very just about into out up down over says said one two don't it's i'm let's come
            go know never always still more some any only again today tomorrow night day after
            before while through need want think see look wait stop help home morning""",
        "de": """der die das den dem des ein eine einen einem einer eines und oder aber nicht kein
            keine ist sind war waren sein bin bist hat habe haben hast wird werden wurde ich du er
            sie es wir ihr mich dich sich uns mir dir ihm ihn mein meine dein deine sein seine auf
            in im an am zu zum zur von vom mit für bei nach aus über unter vor durch um als wie wo
            wer was wann warum wenn weil dass ob auch noch schon nur sehr so hier dort da jetzt
            heute morgen gestern immer nie ja nein hallo danke bitte tschüss guten gut gute tag
            abend nacht kann kannst können muss müssen will wollen soll mehr alle alles etwas
            nichts doch mal man komm geh weiß haus""",
        "es": """el la los las un una unos unas y o pero no sí de del a al en con por para sin sobre
            entre hasta desde que qué quién cómo cuándo dónde porque si es son era fue ser soy eres
            está están estoy estás estaba hay ha he han había tiene tengo tienes yo tú él ella
            nosotros ellos usted ustedes me te se le les lo nos mi tu su mis tus sus este esta esto
            ese esa eso muy más menos también ya aquí allí ahora hoy mañana ayer siempre nunca todo
            todos nada algo hola adiós gracias favor bueno buenos buena buenas días noche noches
            casa puedo puede quiero vamos señor como cuando""",
        "fr": """le la les l un une des du de d et ou mais ne pas non oui si à au aux en dans sur
            sous avec sans pour par chez vers que qu qui quoi quand comment où pourquoi parce est
            sont était suis es être a ai as ont avait avoir je j tu il elle on nous vous ils elles
            me m te t se s lui leur moi toi mon ma mes ton ta tes son sa ses notre votre nos vos ce
            c cet cette ces ça très plus moins aussi déjà encore ici là maintenant demain hier
            toujours jamais tout tous toute rien quelque bonjour bonsoir merci salut revoir bien
            bon bonne fait faire peux peut veux allons va voici n aujourd'hui jour nuit""",
        "it": """il lo la i gli le l un uno una e ed o ma non sì no di del dello della dei degli
            delle a al allo alla ai agli alle da dal dalla in nel nello nella nei negli nelle con
            su sul sulla sui per tra fra che chi cosa come quando dove perché se è sono era sei
            siamo essere ho hai ha abbiamo hanno aveva avere io tu lui lei noi voi loro mi ti si ci
            vi mio mia miei tuo tua suo sua nostro questo questa questi quello quella molto più
            meno anche già ancora qui qua lì ora adesso oggi domani ieri sempre mai tutto tutti
            niente qualcosa ciao grazie prego buongiorno buonasera bene buono buona fa fare posso
            può voglio andiamo c'è così notte giorno casa""",
        "pt": """o a os as um uma uns umas e ou mas não sim de do da dos das em no na nos nas ao à
            aos às com por pelo pela para sem sobre entre até desde que quem como quando onde
            porque se é são era foi ser sou está estão estou estava há tem tenho têm tinha ter eu
            tu você vocês ele ela nós eles elas me te lhe nos meu minha meus teu tua seu sua nosso
            este esta isto esse essa isso aquele aquela muito mais menos também já ainda aqui ali
            lá agora hoje amanhã ontem sempre nunca tudo todos nada algo olá oi adeus obrigado
            obrigada bom boa bem dia noite tarde casa posso pode quero vamos fazer""",
    }.items()
}

_TYPICAL: dict[str, re.Pattern[str]] = {
    "en": re.compile(r"\w{2}ing\b|\bth\w|\w(?:ght|tion)s?\b|\bwh\w|'(?:s|re|ll|ve|m)\b"),
    "de": re.compile(r"[äöüß]|sch|\w(?:ung|keit|heit|lich|ich)\b|tz|\bge\w+t\b"),
    "es": re.compile(r"[ñ¿¡]|\w(?:ción|ciones|mente|ando|iendo|dad|ito|ita)\b|ll|\w[óáí]\b"),
    "fr": re.compile(
        r"[çœêèûîëâ]|\w(?:eux|euse|tion|ment|eau|aux|ez|ée|oir)\b|\b(?:qu|[ldjcnmts])'"
    ),
    "it": re.compile(r"[òìù]|\w(?:zione|zioni|mente|ando|endo|tà|etto|etta)\b|gli|cch|zz|\w[èé]\b"),
    "pt": re.compile(
        r"[ãõç]|\w(?:ção|ções|mente|ando|endo|inho|inha|dade)\b|lh|nh|\w(?:ei|ou|am)\b"
    ),
}
TYPICAL_POINTS = 0.5
"""Of a word with letters typical of a language; a frequent word shares one point."""
ENOUGH, AHEAD = 1.0, 1.25
"""Points that the best language needs, and how many times those of the second best."""

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_SCRIPTS = {
    "latin": re.compile(r"[A-Za-z\u00c0-\u024f]"),
    "han or kana": re.compile(r"[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9d\u3400-\u9fff々]"),
    "hangul": re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]"),
    "arabic": re.compile(r"[\u0621-\u064a\u0671-\u06d3]"),
}
_KANA = re.compile(r"[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9d]")
_NOT_ARABIC = re.compile(r"[پچژگکیےٹڈڑہ]")
"""Letters of Persian and Urdu."""


def guess_language(text: str) -> str:
    """The code of one of `LANGUAGES`, or `UNKNOWN` when unsure."""
    letters = sum(character.isalpha() for character in text)
    counts = {name: len(script.findall(text)) for name, script in _SCRIPTS.items()}
    script, most = max(counts.items(), key=lambda item: item[1])
    if most == 0 or most * 2 < letters:
        return UNKNOWN
    if script == "latin":
        return _guess_latin(text)
    if script == "arabic":
        return UNKNOWN if _NOT_ARABIC.search(text) else "ar"
    if script == "hangul":
        return "ko"
    # Japanese writes its endings in kana; a single one among many characters may be an emoticon.
    return "ja" if len(_KANA.findall(text)) * 10 >= most else "zh"


def _guess_latin(text: str) -> str:
    text = text.lower().replace("\u2019", "'")
    points = dict.fromkeys(FREQUENT_WORDS, 0.0)
    for word in _WORD.findall(text):
        for code, share in _word_points(word):
            points[code] += share
    if "¿" in text or "¡" in text:
        points["es"] += 1
    (best, most), (_, second), *_ = sorted(points.items(), key=lambda item: -item[1])
    return best if most >= max(ENOUGH, AHEAD * second) else UNKNOWN


@lru_cache(maxsize=4096)  # while a prompt is typed its words stay the same
def _word_points(word: str) -> tuple[tuple[str, float], ...]:
    forms = {word, *word.split("'")}
    speaking = [code for code, words in FREQUENT_WORDS.items() if forms & words]
    points = [(code, 1 / len(speaking)) for code in speaking]
    points += [(code, TYPICAL_POINTS) for code, typical in _TYPICAL.items() if typical.search(word)]
    return tuple(points)
