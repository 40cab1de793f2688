"""Style: the model rewrites a post, and the gold mentions are found again in the rewrite, exactly or not at all."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from modeling_cotpd.augmentation.plan import NO_ANSWER, STYLE, UNASKED, AugmentPlan, Candidate, Rejected
from modeling_cotpd.augmentation.renaming import with_knowledge
from modeling_cotpd.augmentation.sample import (
    SHORT,
    Mention,
    Sample,
    candidate_names,
    fold,
    occurrences,
    with_mentions,
)
from modeling_cotpd.augmentation.tokenization import Tokenization, detokenize, tokenize
from modeling_cotpd.knowledge.answer import FINAL, Answer
from modeling_cotpd.knowledge.prompt import opening
from modeling_cotpd.knowledge.request import Conversation

Span = tuple[int, int]


def align(sample: Sample, tokens: Sequence[str]) -> list[Mention]:
    """The sample's mentions among the tokens of its rewrite: MNER in their order there, MRE head and tail.

    A mention is found when whole tokens read like it, whatever their case, spaces, signs and accents (`name_key`): the
    mention `NewTarn` of `# NewTarn` is found in `New Tarn`, and the other way round. Every name must stand in the
    rewrite as often as in the post.

    Raises:
        Rejected: A mention is missing, or it is unclear which tokens it is.
    """
    gold: dict[str, list[Mention]] = {}
    for mention in sample.mentions:
        gold.setdefault(sample.key(mention), []).append(mention)
    if "" in gold:
        raise Rejected("mention without letters", sample.text(gold[""][0]))
    if sample.is_relation and len(gold) < len(sample.mentions):
        raise Rejected("head and tail have the same name", sample.text(sample.mentions[0]))
    before, after = occurrences(sample.tokens, gold), occurrences(tokens, gold)
    found: dict[str, list[Mention]] = {}
    for key, mentions in gold.items():
        places = [_core(sample.tokens, mention) for mention in mentions]
        stray = set(places) - set(before[key]) if sample.is_relation else set(places) ^ set(before[key])
        if stray or len({mention.kind for mention in mentions}) > 1:
            raise Rejected("mention not unique in the post", sample.text(mentions[0]))
        if len(after[key]) < len(before[key]):
            raise Rejected("mention missing", sample.text(mentions[0]))
        if len(after[key]) > len(before[key]):
            raise Rejected("mention repeated", sample.text(mentions[0]))
        spans = [after[key][before[key].index(place)] for place in places] if sample.is_relation else after[key]
        found[key] = [Mention(mentions[0].kind, *_widened(sample, mentions[0], tokens, span)) for span in spans]
    aligned = [mention for mentions in found.values() for mention in mentions]
    return aligned if sample.is_relation else sorted(aligned, key=lambda mention: mention.start)


def _core(tokens: Sequence[str], mention: Mention) -> Span:
    """A mention without the tokens at its ends that have no letters, such as `#` and `.`"""
    lettered = [index for index in range(mention.start, mention.end) if fold(tokens[index])]
    return lettered[0], lettered[-1] + 1


def _widened(sample: Sample, mention: Mention, tokens: Sequence[str], span: Span) -> Span:
    """A span with the tokens around it that the gold mention has at its ends too."""
    start, end = _core(sample.tokens, mention)
    lead, trail = sample.tokens[mention.start : start], sample.tokens[end : mention.end]
    first, last = span[0] - len(lead), span[1] + len(trail)
    return (
        first if first >= 0 and list(tokens[first : span[0]]) == lead else span[0],
        last if list(tokens[span[1] : last]) == trail else span[1],
    )


_SENTENCE_ENDS = ("", ".", "!", "?", ":", "…", "...", '"', "“")
NAME_SHARE = 0.8
"""A string is a name when at least this share of its occurrences is labelled, so that "May" is none."""


class Lexicon:
    """Names and lower-case words of a training split."""

    def __init__(self, samples: Iterable[Sample]):
        samples = list(samples)
        labelled = Counter(sample.key(mention) for sample in samples for mention in sample.mentions)
        every: Counter = Counter()
        self.words: set[str] = set()
        for sample in samples:
            every.update(key for _, _, key in candidate_names(sample.tokens) if key in labelled)
            self.words.update(token for token in sample.tokens if token.islower())
        self.names = {
            key for key, count in labelled.items() if len(key) > SHORT and count >= NAME_SHARE * every[key] > 0
        }

    def check(self, sample: Sample, tokens: Sequence[str], mentions: Sequence[Mention]) -> None:
        """Raise `Rejected` for a rewrite that seems to name more than the labels say.

        Signs of it are a name of the training split or a handle that the post does not have, and a capitalized word
        that the post does not have, right beside a mention to which it may belong (`Mira` become `Mira Holt`), or
        within a sentence when the training split does not know it in lower case.
        """
        own = {key for _, _, key in candidate_names(sample.tokens)}
        inside = [False] * len(tokens)
        for mention in mentions:
            inside[mention.start : mention.end] = [True] * (mention.end - mention.start)
        new = {key for _, _, key in candidate_names(tokens)} & self.names - own
        for start, end in itertools.chain.from_iterable(occurrences(tokens, new).values()):
            if not any(inside[start:end]):
                raise Rejected("new mention", " ".join(tokens[start:end]))
        words = {fold(token) for token in sample.tokens}
        shouted = "".join(tokens).isupper()
        starts, ends = {mention.start for mention in mentions}, {mention.end for mention in mentions}
        for place, token in enumerate(tokens):
            before = tokens[place - 1] if place else ""
            if inside[place] or fold(token) in words:
                continue
            if (before == "@" or token[0] == "@") and fold(token):
                raise Rejected("new mention", f"@{token.removeprefix('@')}")
            if shouted or before == "#" or not token[0].isupper():
                continue
            # "Congrats Mira Holt": a capital is innocent on a word that is known in lower case, but not behind a name.
            known = token.lower() in self.words
            if place in ends or (place + 1 in starts and not known):
                raise Rejected("mention may be longer", token)
            if not known and before not in _SENTENCE_ENDS:
                raise Rejected("new name", token)


_OPENER = r"(?:sure|certainly|of course|absolutely|okay|ok|great|yes|alright)(?: thing)?"
_INTRODUCTION = re.compile(
    rf"(?:{_OPENER}[,!.:]*\s+)?(?:here(?:'s| is| are| you)|this is|below is|the)\b[^\n:]{{0,60}}?"
    r"\b(?:tweet|version|text|post|rewrite|rewritten|sentence|style|transformation|it is|go|are|option|result)\b"
    rf"[^\n:]{{0,40}}:\s*|{_OPENER}[!.,]*\s*$",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?:(?:re-?written|new|revised|transformed|tweet|twitter|text|post|rewrite|output|sentence|version|style|result"
    r"|answer|option|alternative|paraphrased?|restyled|updated|modified|final|suggested|possible|informal|casual|response"
    r"|caption|status)[ -]?(?:\d+\b)?){1,3}\s*:\s*",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"(?:let me know|(?:i )?hope (?:this|that|it)|feel free|would you like|do you want (?:me|another)"
    r"|is there anything|(?:please )?note(?: that)?\b|explanation\b|meaning|alternatively|or(?=[,:])|happy to|end of"
    r"|this (?:version|rewrite|tweet|post|text|keeps|uses|maintains)"
    r"|the (?:tweet|rewrite|text|version) (?:keeps|uses|above|is)"
    r"|i(?:'ve| have)? (?:kept|added|used|changed|made|tried|replaced|rewrote|maintained)"
    r"|if you (?:want|need|would|have|like)|another (?:option|version)|changes made|character count|\d+ characters)\b",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"\s*[(\[](?:note|\d+ characters|translation|rewritten|meaning|this |i |in twitter)[^)\]]*[)\]]\s*$", re.IGNORECASE
)
_WRAPPED = re.compile(r"<(\w+)[^<>]*>(.*)</\1\s*>", re.DOTALL)
_NUMBERED = re.compile(r"(?:\d+[.)]|[-*•])\s+\S")
_QUOTES = (('"', '"'), ("“", "”"), ("«", "»"), ("'", "'"), ("`", "`"), ("‘", "’"), ("„", "“"))


def restyle(sample: Sample, plan: AugmentPlan, tokenization: Tokenization, lexicon: Lexicon) -> Conversation:
    """Ask for rewrites of one post; the result has one candidate for each of `plan.times`.

    The first request is the paper's; each further one follows in the same conversation and asks for other words, since
    a model at temperature 0 would repeat itself.
    """
    text = detokenize(sample.tokens)
    prompts = [plan.prompts["post"], plan.prompts["style"]]
    messages = opening(plan.prompts, plan.prompts["style"], text)
    seen, candidates = {fold(text)}, list[Candidate]()
    for time in range(1, plan.times + 1):
        if time == 2:
            prompts.append(plan.prompts["style_again"])
        if time > 1:
            messages.append({"role": "user", "content": plan.prompts["style_again"].fill(text=text, caption="")})
        answer = yield plan.request(STYLE, list(messages), *prompts, example=text + " again" * time)
        if answer.status not in FINAL:
            why, later = f"{answer.status}: {answer.reason}", range(time, plan.times + 1)
            return candidates + [Candidate(sample.id, STYLE, each, UNASKED, NO_ANSWER, why) for each in later]
        messages.append({"role": "assistant", "content": answer.text})
        candidate = Candidate(sample.id, STYLE, time, text=answer.text.strip())
        candidates.append(candidate)
        with candidate.judged():
            row = restyled_row(sample, answer, plan, tokenization, lexicon)
            candidate.text = detokenize(row["tokens"])
            if fold(candidate.text) in seen:
                raise Rejected("not another text")
            seen.add(fold(candidate.text))
            candidate.row = yield from with_knowledge(plan, row, (), candidate)
    return candidates


def restyled_row(
    sample: Sample, answer: Answer, plan: AugmentPlan, tokenization: Tokenization, lexicon: Lexicon
) -> dict:
    """Return the parent's record with the rewritten text and its labels. Raises `Rejected`."""
    if not plan.usable_text(answer):
        raise Rejected(f"answer {answer.status}", answer.reason)
    tokens = tokenize(rewrite_in(answer.text, detokenize(sample.tokens)), tokenization)
    if not any(fold(token) for token in tokens):
        raise Rejected("no text")
    longest = 2 * len(sample.tokens) + 10
    if len(tokens) > longest:
        raise Rejected("too long", f"{len(tokens)} tokens, the post has {len(sample.tokens)}")
    mentions = align(sample, tokens)
    if not sample.is_relation and not sample.unlabelled:
        lexicon.check(sample, tokens, mentions)
    return with_mentions(sample.row, tokens, mentions)


def rewrite_in(answer: str, post: str = "") -> str:
    """Return the rewrite without what models put around it: introduction, label, quotation marks, Markdown, remarks.

    What the original, `post`, has itself is not taken off the rewrite.

    Raises:
        Rejected: More than one text is left, so that it cannot be said which is the rewrite.

    Example:
        >>> rewrite_in('Sure! Here it is:\\n\\n"Go Otters! #win"\\n\\nLet me know if you like it.')
        'Go Otters! #win'
    """
    answer = answer.strip()
    if (match := _WRAPPED.fullmatch(answer)) and "<" not in post:
        answer = match.group(2)
    lines = [_without_markup(line, post) for line in answer.strip().splitlines()]
    paragraphs = [list(group) for blank, group in itertools.groupby(lines, key=lambda line: not line) if not blank]
    paragraphs = [kept for group in paragraphs if (kept := [line for line in group if not _is_around(line, post)])]
    if len(paragraphs) > 1 or sum(bool(_NUMBERED.match(line)) for line in itertools.chain(*paragraphs)) > 1:
        raise Rejected("more than one text", " / ".join(line for group in paragraphs for line in group)[:200])
    text = " ".join(itertools.chain(*paragraphs))
    if re.match(r'\{\s*"|\[\s*["{]', text) and not post.startswith(("{", "[")):
        raise Rejected("no plain text", text[:200])
    for pattern in (_INTRODUCTION, _LABEL):
        if (match := pattern.match(text)) and not pattern.match(post):
            text = text[match.end() :]
    if not _NOTE.search(post):
        text = _NOTE.sub("", text)
    text = _unquoted(text.strip(), post)
    # A remark may also stand behind the last sentence of the rewrite.
    for match in re.finditer(r"(?<=[.!?\"”»*])\s+(?=\S)", text):
        if _REMARK.match(text[match.end() :]) and not _REMARK.search(post):
            return _unquoted(text[: match.start()], post)
    return text


def _without_markup(line: str, post: str) -> str:
    """A line without Markdown that the post does not have."""
    line = line.strip()
    if re.fullmatch(r"`{3,}\w*|[-_*=]{3,}", line):
        return ""
    for mark in ("**", "__", "```", "~~"):
        if mark not in post:
            line = line.replace(mark, "")
    if (line.startswith("> ") and not post.startswith(">")) or (re.match(r"#{1,6} ", line) and "# " not in post):
        line = line.lstrip("># ")
    match = re.fullmatch(r"([*_])(\S.*\S)\1", line)
    return (match.group(2) if match and match.group(1) not in post else line).strip()


def _is_around(line: str, post: str) -> bool:
    """Whether a whole line introduces the rewrite or remarks on it."""
    if line.endswith(":") and not post.endswith(":"):
        return True
    if (match := _INTRODUCTION.match(line)) and match.end() == len(line):
        return True
    return bool(_REMARK.match(line.lstrip("(*_ ")) and not _REMARK.search(post))


def _unquoted(text: str, post: str) -> str:
    for first, last in _QUOTES:
        if len(text) > 1 and text[0] == first and text[-1] == last:
            inner = text[1:-1]
            return inner.strip() if first not in inner and last not in inner else text
    return text
