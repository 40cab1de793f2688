"""Answers of language models that are no answers: refusals, and descriptions of unavailable pictures."""

import re
import unicodedata

_DO = (
    "assist|summari[sz]e|name|comment|perform|entertain|help(?: you)?(?: with|$|[.!,;]| identify| fulfil| in\\b)"
    "|provide(?! enough)|fulfil|comply|describing|identifying|helping|answering|providing|answer|identify"
    "|recogni[sz]e|do that"
    "|discuss|engage|process|view|see (?:(?:the|this|that|any|your) )?(?:image|picture|photo|text|tweet)|analy[sz]e"
    "|complete (?:this|that|your)|describe(?! how| what)|generate"
    "|create|write|rewrite|transform|explain (?:this|that|the)|determine|respond|fulfill|participate|access|support"
    "|offer|produce|interpret|continue (?:with )?(?:this|that)|share (?:this|that|info)|speculate|verify|confirm|open"
    "|give (?:you )?(?:an|any|that|info)|talk about|make (?:assumptions|guesses|an? )"
)
_CANNOT = (
    r"\b(?:i|we)(?:'m| am|'re| are)?(?: just| simply| currently| still| really| also)?"
    r" (?:can't|can ?not|could not|couldn't|(?:won't|will not)(?: be able to)?|cannot and will not"
    r"|can't and won't|refuse to|unable to|not able to|not allowed to|not permitted to"
    r"|not comfortable|(?:don't|do not) feel comfortable(?: with)?|decline to"
    r"|don't have (?:the ability|access|enough)|do not have (?:the ability|access|enough)|lack the ability|can only)"
)
_SORRY = (
    r"(?:(?:i'm|i am|we're|we are)(?: so| very| really| truly| deeply| terribly)? sorry|sorry|(?:my |our )?apologies"
    r"|(?:i|we)(?: sincerely)? apologi[sz]e|(?:i'm|i am) afraid|unfortunately|regrettably|oops|thank(?:s| you) for)"
)
_MISSING = (
    r"(?:no|any|not provided|without)\b.{0,30}\b(?:image|picture|photo|paragraph|text|tweet|post|sentence|context"
    r"|information)|issue with the|not provided"
)
_ENGLISH = re.compile(
    rf"{_SORRY}\b.{{0,160}}?\b(?:{_CANNOT} (?:\w+ )?(?:{_DO})|(?:there|it|you|the)\b[^.!?]{{0,60}}(?:{_MISSING}))"
    rf"|(?:{_SORRY}[,.!: -]{{1,4}}but|(?:i'm|i am)(?: \w+)? sorry,) {_CANNOT}\b"
    rf"|{_SORRY}[,.!: -]{{1,4}}(?:but )?{_CANNOT}(?: do (?:this|that)|$)"
    r"|(?:i'm|i am)(?: \w+)? sorry, but\b.{0,160}?(?:can't|cannot|unable|not able|no (?:image|picture|paragraph)|issue"
    r"|not provided|without)"
    rf"|(?:{_SORRY}.{{0,40}}?)?{_CANNOT} (?:\w+ )?(?:{_DO})"
    r"|(?:as|i'm|i am)(?: just| only)? an? (?:\w+ ){0,3}(?:ai|language model|assistant)\b.{0,60}?\bi (?:can|am|do"
    r"|don't|have|must|cannot|won't)"
    r"|i (?:must|have to|need to) (?:\w+ )?(?:decline|refuse)|(?:request|access) denied|(?:this|that"
    r"|your) (?:request|content) (?:violates|goes against)",
    re.DOTALL,
)
# An apology or a denial at the beginning, and within a short distance the words for "not able to", by language.
_REFUSALS = r"""
(?:je suis|nous sommes)? ?(?:\w+ )?désolé|malheureusement => \bne (?:peux|puis|pouvons|suis pas)
je m'excuse|je regrette => \bne (?:peux|puis|pouvons|suis pas)
je ne (?:peux|puis) pas (?:vous\s|t'|te )? => aider|répondre|fournir|décrire|identifier|traiter
(?:es )?tut mir (?:\w+ )?leid|leider|entschuldig|ich bedau => \b(?:nicht|kein\w*)\b
ich kann (?:\w+ ){0,3}nicht\s => helfen|beantworten|beschreiben|weiterhelfen|identifizieren
lo siento|lamento|lo lamento => \bno (?:puedo|podemos|me es posible|soy capaz|estoy)
disculp|perdón|desafortunadamente|lamentablemente => \bno (?:puedo|podemos|me es posible|soy capaz|estoy)
(?:yo )?no (?:puedo|podemos)\s => \b(?:ayudar|responder|describir|asistir|identific)
(?:eu )?não (?:posso|consigo)\s => \b(?:ajudar|responder|descrever|identific)
(?:io )?non (?:posso|riesco)\s => \b(?:aiutar|rispondere|descrivere|identific)
я не могу\s|я не в состоянии\s => помочь|ответить|описать|предоставить|выполнить|определить
desculp|sinto muito|lamento|infelizmente|peço desculpa => \bn[ãa]o (?:posso|consigo|sou capaz|podemos|tenho)
mi dispiace|spiacente|purtroppo|mi scuso|scusa => \bnon (?:posso|riesco|sono in grado|possiamo)
het spijt|helaas|sorry|mijn excuses => \bik (?:\w+ )?(?:niet|geen)\b|\bkan ik (?:\w+ )?niet\b
het spijt|helaas|sorry|mijn excuses => \bik kan (?:\w+ )?(?:niet|geen|hier)
przykro mi|przepraszam|niestety => \bnie (?:mogę|jestem w stanie|możemy)
(?:мне )?(?:очень )?жаль|извин|прост|к сожалению|прошу прощения => не (?:могу|в состоянии|можем|имею)
вибач|на жаль|перепрош => не (?:можу|в змозі|маю)
tyvärr|förlåt|(?:jag|jeg) (?:är|er) ledsen|beklager|undskyld|desværre|dessverre|jag beklagar => \b(?:inte|ikke)\b
valitettavasti|pahoittelen|anteeksi => \ben (?:voi|pysty|osaa)
omlouvám|bohužel|je mi líto|ľutujem|žiaľ => \bnem(?:ohu|ůžu|ôžem)
îmi pare rău|din păcate|scuze|ne pare rău => \bnu (?:pot|putem|sunt)
sajnálom|sajnos|elnézést => \bnem (?:tudok|tudom|áll|segíthet)
üzgünüm|maalesef|özür => \w*(?:amam|emem|amıyorum|emiyorum|amayız|mümkün değil)
maaf|mohon maaf => \b(?:tidak|tak|nggak) (?:dapat|bisa|boleh|mampu)
(?:tôi )?(?:rất )?(?:xin lỗi|tiếc) => không thể
λυπάμαι|συγγνώμη|δυστυχώς => δεν (?:μπορώ|είμαι|έχω)
(?:我)?(?:很|非常|十分|真的)?(?:抱歉|对不起|對不起|不好意思|遗憾|遺憾) => 无法|無法|不能|没法|沒法|没有办法|不便|无权
(?:作为|作為)(?:一个|一個|一名)?(?:ai|人工智能|人工智慧|语言模型|語言模型) => 无法|無法|不能
我(?:无法|無法|不能) => 回答|帮助|幫助|协助|協助|提供|描述|识别|識別|满足|滿足|处理|處理
(?:大変)?(?:申し訳|すみません|ごめんなさい|恐れ入|残念ながら) => (?:でき|出来)(?:ません|かね)|かねます|ありません
죄송|미안|유감 => 수 ?(?:없|가 없)|어렵습니다|못합니다|드릴 수
عذر|آسف|أعتذر|للأسف|معذرة => لا (?:أستطيع|يمكنني|يمكن|أقدر)|لن أ
متأسف|متاسف|ببخشید|پوزش => نمی.?توان|قادر
(?:אני )?(?:מצטער|סליחה|לצערי) => לא (?:יכול|ניתן|אוכל)|איני
(?:मुझे )?(?:क्षमा|माफ़|माफ|खेद) => नहीं|असमर्थ
ขออภัย|ขอโทษ|เสียใจ => ไม่สามารถ|ไม่ได้
"""
_OTHER_LANGUAGES = re.compile(
    "|".join("(?:{}).{{0,80}}?(?:{})".format(*row.split(" => ")) for row in _REFUSALS.strip().splitlines()), re.DOTALL
)
_UNAVAILABLE = re.compile(
    r"(?:video|image|media|content|picture)[^.!?]{0,80}\b(?:not (?:been )?displayed|not available|unavailable)"
    r"|(?:video|image|media|content)[^.!?]{0,80}\bremoved[^.!?]{0,60}(?:copyright|report|holder)"
    r"|copyright[^.!?]{0,60}(?:video|image|media|content)[^.!?]{0,40}removed"
    r"|placeholder (?:message|graphic|text|image)",
    re.IGNORECASE,
)
_SAME = str.maketrans({**dict.fromkeys("’‘ʼ´`＇", "'"), **dict.fromkeys("—–―‐‑−", "-"), "…": "."})


def is_refusal(text: str) -> bool:
    """Whether a text opens like a language model that declines to answer, in one of about thirty languages.

    Only the opening counts, and only words about the speaker: "I'm sorry for your loss" and "The image does not show
    a face" are answers. Quotation marks, Markdown and typographic apostrophes before or within it are ignored.

    Example:
        >>> is_refusal("**I’m sorry—I can’t assist with that.**"), is_refusal("Sorry is a song by Halsey.")
        (True, False)
    """
    opening = unicodedata.normalize("NFC", text[:600].translate(_SAME)).casefold()
    opening = " ".join(re.sub(r"[*_#>\"“”«»]+", " ", opening).split())[:300]
    opening = re.sub(r"^\W+", "", opening)
    opening = re.sub(r"^(?:hi|hello|hmm+|well|okay|ok|oh|uh|no|i see|i understand[^.,!]{0,60})[,.!: -]+", "", opening)
    return _ENGLISH.match(opening) is not None or _OTHER_LANGUAGES.match(opening) is not None


def refusal_kind(text: str) -> str | None:
    """Return `"refusal"`, `"unavailable"` or `None`.

    An unavailable picture is a description of the notice in its place ("this video has been removed by the copyright
    holder"). Both are found by their wording, so a count is a hint and no proof.

    Example:
        >>> refusal_kind("Sorry, I cannot help with this picture."), refusal_kind("a sign that says: sorry, closed")
        ('refusal', None)
    """
    if is_refusal(text):
        return "refusal"
    return "unavailable" if _UNAVAILABLE.search(text[:600]) else None
