"""The meaning rule (Supplement C, filter 3): does a label name a subject? A table of words and a list of rules.

A label is refused where no word of it could be a subject: every word is a pronoun, a colour, a word for the picture
and so on, or the whole is not a name at all (blank, no letters, markup, too long, a refusal). One other word is enough
to pass: "big dog", "red car" and words of a language with no table here. Tables cover English fully, and German,
French, Spanish and Russian for articles, pronouns, words for the picture, colours and refusals. About 20 us a label.

Words that name both are decided once, for every clip: "person", "people" and "animal" pass, since a detector finds
them; "object", "item" and "thing" do not, since every object is one. "orange" is a colour ("oranges" passes), "rose",
"violet", "gold" and "silver" are things, "screen" is a word for the picture ("computer screen" passes). Only words
that are no subject in any of the languages are listed: German "man", French "main", "son" and "personne" are not.
"""

# ruff: noqa: RUF001, the tables hold Cyrillic words
from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

ARTICLES = "a an the der die das den dem ein eine einen einem einer le la les l un une el los las"
"""They count neither as words nor against a label; "die" (the cube) and "den" are refused for it."""

TABLES: Mapping[str, str] = {
    "a pronoun": """
        i me my myself you your yours yourself he him his she her hers it its they them their theirs we us our ours
        this that these those who whom whose what which someone somebody anyone anybody everyone everybody one ones
        ich mich mir du dich dir er ihn ihm sie es wir uns ihr euch dieser diese dieses jemand
        je tu il elle on nous vous ils elles moi toi lui eux ce cet cette ces ceci cela ça
        yo tú él ella ello nosotros nosotras usted ustedes ellos ellas esto eso este esta ese esa alguien
        я меня мне ты тебя он его она её ее оно мы нас вы вас они их это этот эта эти то кто""",
    "a word for the picture": """
        background backgrounds foreground backdrop picture pictures image images photo photos photograph photography
        video videos footage clip animation screenshot screen frame scene scenery view shot snapshot closeup timelapse
        wallpaper
        hintergrund vordergrund bild bilder foto fotos aufnahme szene ansicht bildschirmfoto
        fond arrière premier plan photographie vidéo scène vue capture écran
        fondo primer plano imagen imágenes fotografía vídeo escena vista captura pantalla
        фон фона передний задний план плане картинка картинке изображение изображении фото фотография фотографии
        видео сцена кадр вид скриншот снимок""",
    "a colour": """
        color colour colors colours colored coloured red green blue yellow black white gray grey orange purple pink
        brown beige cyan magenta
        farbe rot rote roter grün grüne grüner blau blaue blauer gelb gelbe schwarz schwarze weiß weiße grau braun lila
        couleur rouge vert verte bleu bleue jaune noir noire blanc blanche gris grise
        rojo roja verde azul amarillo amarilla negro negra blanco blanca marrón
        цвет красный красная зелёный зеленый синий синяя голубой жёлтый желтый чёрный черный белый белая серый
        коричневый розовый фиолетовый оранжевый""",
    "a number": """
        zero two three four five six seven eight nine ten eleven twelve dozen hundred thousand million first second
        third both pair single double number""",
    "a place in the picture": """
        left right top bottom middle center centre corner edge side front back above below here there somewhere
        everywhere inside outside up down""",
    "a time": "time moment day night morning evening afternoon noon midnight summer winter autumn season",
    "a vague word": """
        thing things something anything everything stuff object objects item items entity element elements detail
        details subject subjects focus part parts piece bit lot lots kind kinds sort sorts type types area place other
        others rest way example
        ding dinge etwas objekt gegenstand teil chose choses quelque objet cosa cosas algo objeto parte
        что нибудь вещь объект предмет часть""",
    "an adjective": """
        big bigger biggest small smaller little tiny large huge giant tall short long wide high low great beautiful
        pretty nice good bad best lovely cute adorable amazing old young new dark bright deep pale colorful colourful
        blurry blurred clear unfocused empty full happy sad alone lonely slow fast close near far same different
        similar various abstract real hot cold warm wet dry soft hard many several few some any more most all each
        every another such""",
    "a function word": """
        of in on at to by for from with without and or but as is are was were be being been has have can so very too
        just only not do does did if then than like looks look looking seems appears up into over under
        und oder von im ist sind et ou de du des est sont en y o del es и в на из с у не""",
    "a refusal": """
        unknown unclear unsure uncertain undefined unidentified unrecognizable no not none nothing nobody nowhere null
        nil nan na sorry maybe yes ok okay
        nichts niemand unbekannt unklar unsicher kein keine keiner keines
        rien aucun aucune inconnu inconnue
        nada nadie ninguno ninguna desconocido desconocida
        ничего никто неизвестно неизвестный неясно непонятно нет""",
}
"""What each word is -> the words, in English and then by language. The first table that holds a word names it."""

REFUSAL = re.compile(
    r"""\b(?:
        ^not \b | ^no \s (?!.*\bsign) | no \s idea | none \s of | n/a | as \s an \s ai | who \s knows | unable \s to
        | there \s (?:is|are) \s (?:no|not) | there \s (?:isn't|aren't) | (?:don|doesn|didn|can|couldn|isn|won)'?t
        | (?:do|does|did|could) \s not | can \s?not | (?:hard|difficult) \s to \s (?:say|tell|see)
        | not \s (?:sure|clear|certain|visible|possible|enough|known|specified)
        | weiss \s (?:(?:es|ich|das) \s)* nicht | keine \s ahnung | nicht \s (?:sicher|klar|erkennbar|zu)
        | es \s gibt \s kein
        | sais \s pas | aucune \s idée | pas \s (?:sûr|sûre|clair) | n'y \s a | impossible \s de
        | no \s (?:lo \s)? sé | no \s hay | ni \s idea | no \s (?:estoy|está|puedo|se \s (?:ve|puede))
        | не \s (?:знаю|уверен|уверена|могу|видно|понятно|ясно) | ничего \s нет
    )(?!\w)""",
    re.VERBOSE,
)
"""Phrases that refuse or hedge, wherever they stand in the label."""

MARKUP = re.compile(r"[<>{}|\\^~]|&#?\w+;|://|www\.|@")
"""Traces of HTML, code, addresses."""

MAX_MARKS = 4
"""Combining marks in a row; pointed Hebrew and Thai need three, decoration stacks more."""

Rule = Callable[[str, Sequence[str], int, int], str | None]
"""A label in plain, case-folded form, its words, and the limits on words and characters -> why it names nothing."""


def meaning_problem(label: str, *, max_words: int = 6, max_characters: int = 60) -> str | None:
    """Return None where the label names a subject, else a sentence with the label and why it names none (filter 3).

    Args:
        label: any text.
        max_words: most words without articles.
        max_characters: most characters.
    """
    plain = plain_text(label).casefold().replace("’", "'")
    words = words_of(plain)
    for rule in RULES:
        problem = rule(plain, words, max_words, max_characters)
        if problem:
            return f"label {plain_text(label)[:80]!r} names no subject: {problem}"
    return None


def plain_text(text: str) -> str:
    """Return the text in NFKC without control, zero-width and unpaired surrogate characters, each space one blank."""
    composed = unicodedata.normalize("NFKC", text)
    kept = (" " if character.isspace() else character for character in composed)
    visible = "".join(character for character in kept if unicodedata.category(character) not in ("Cc", "Cf", "Cs"))
    return " ".join(visible.split())


def words_of(text: str) -> list[str]:
    """Return the runs of letters and their marks, without articles where another word is there."""
    letters = "".join(character if unicodedata.category(character)[0] in "LM" else " " for character in text)
    words = [word for word in letters.split() if any(character.isalpha() for character in word)]
    return [word for word in words if word not in _ARTICLES] or words


def _blank(plain: str, _words: Sequence[str], _max_words: int, _max_characters: int) -> str | None:
    return None if plain else "it is blank"


def _no_letters(plain: str, _words: Sequence[str], _max_words: int, _max_characters: int) -> str | None:
    return None if any(character.isalpha() for character in plain) else "it has no letters"


def _too_long(plain: str, words: Sequence[str], max_words: int, max_characters: int) -> str | None:
    if len(plain) > max_characters:
        return f"it has {len(plain)} characters, more than {max_characters}"
    return f"it has {len(words)} words, more than {max_words}" if len(words) > max_words else None


def _markup(plain: str, _words: Sequence[str], _max_words: int, _max_characters: int) -> str | None:
    found = MARKUP.search(plain)
    return f"{found.group()!r} is markup or part of an address" if found else None


def _stacked_marks(plain: str, _words: Sequence[str], _max_words: int, _max_characters: int) -> str | None:
    in_a_row = 0
    for character in plain:
        in_a_row = in_a_row + 1 if unicodedata.category(character) == "Mn" else 0
        if in_a_row > MAX_MARKS:
            return f"more than {MAX_MARKS} combining marks are stacked on one letter"
    return None


def _refusal(plain: str, _words: Sequence[str], _max_words: int, _max_characters: int) -> str | None:
    found = REFUSAL.search(plain)
    return f"{found.group()!r} is a refusal" if found else None


def _only_words_without_subject(_plain: str, words: Sequence[str], _max_words: int, _max_characters: int) -> str | None:
    kinds = [_KINDS.get(word) or ("a single letter" if _is_single_letter(word) else None) for word in words]
    if None in kinds:
        return None
    return ", ".join(f"{word!r} is {kind}" for word, kind in zip(words, kinds, strict=True))


def _is_single_letter(word: str) -> bool:
    # One letter of an alphabet with cases is no word; one Chinese character is.
    return len(word) == 1 and unicodedata.category(word) == "Ll"


RULES: Sequence[Rule] = (
    _blank,
    _no_letters,
    _too_long,
    _markup,
    _stacked_marks,
    _refusal,
    _only_words_without_subject,
)
"""In order; the first that refuses speaks."""


def _folded(words: str) -> list[str]:
    return [plain_text(word).casefold() for word in words.split()]


_ARTICLES = frozenset(_folded(ARTICLES))
_KINDS = {word: kind for kind, words in reversed(list(TABLES.items())) for word in _folded(words)}
_KINDS |= dict.fromkeys(_ARTICLES, "an article")
