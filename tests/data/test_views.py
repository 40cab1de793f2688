"""Views: labels of subword tokens, where markers and glosses stand, how the budget is shared, what is cached."""

import logging

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny_models import TOKENIZER_KINDS

from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, features_for, make_split
from modeling_cotpd.data.views import (
    ViewBuilder,
    ViewSettings,
    build_features,
    share_budget,
)
from modeling_cotpd.data.words import split_at_words, word_spans
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.markers_cotpd import ENTITY_MARKERS, add_entity_markers

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
RELATIONS = ["None", "lives_in", "knows"]
WITHOUT_KNOWLEDGE = ViewSettings(knowledge_columns=())


def mner_split(*posts: list[str], **columns) -> Dataset:
    rows = [
        {"id": f"p{i}", "tokens": tokens, "ner_tags": ["B-LOC"] * len(tokens)}
        | {name: values[i] for name, values in columns.items()}
        for i, tokens in enumerate(posts)
    ]
    return make_split(rows, "mner", TAGS, "test")


def mre_split(*rows: tuple, **columns) -> Dataset:
    """Rows of (tokens, head, tail)."""
    return make_split(
        [
            {
                "id": f"p{i}",
                "tokens": tokens,
                "head": {"start": head[0], "end": head[1]},
                "tail": {"start": tail[0], "end": tail[1]},
                "relation": "knows",
            }
            | {name: values[i] for name, values in columns.items()}
            for i, (tokens, head, tail) in enumerate(rows)
        ],
        "mre",
        RELATIONS,
        "test",
    )


def mner_row(tokenizer, tokens: list[str], view=WITHOUT_KNOWLEDGE, **columns) -> dict:
    batch = {"id": ["p"], "tokens": [tokens], "ner_tags": [[1] * len(tokens)]}
    batch |= {name: [columns.get(name, "")] for name in KNOWLEDGE_COLUMNS} | {"glosses": [columns.get("glosses", [])]}
    return {name: value[0] for name, value in ViewBuilder(tokenizer, "mner", view, TAGS)(batch).items()}


def text_at(tokenizer, tokens: list[str], place: int) -> str:
    """The characters of the joined text that a piece stands for; `place` counts special tokens."""
    text = " ".join(tokens)
    start, end = tokenizer(text, return_offsets_mapping=True, split_special_tokens=True)["offset_mapping"][place]
    return text[start:end]


HARD_POSTS = [
    ["Mira", "Holt", "sings", "!"],
    ["RT", "@mira_holt", ":", "#otters", "...", "https://example.org/a?b=c"],
    ["it", "'s", "Mira's", "O'Brien", "-", "half-time"],
    ["Tarn\u00fcbr\u00fccke", "na\u00efve", "e\u0301tude", "\u1e9e"],
    ["hello", "\U0001f469\u200d\U0001f4bb", "\U0001f1eb\U0001f1f7", "\u2764\ufe0f", "bye"],
    ["\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05dc\u05d5\u05dd", "Holt"],
    ["\u6771\u4eac\u306b", "\u884c\u304f", "Mira"],
    ["x", "y", "z"],
]


def labels_of_words(row: dict, tokens: list[str]) -> list[list[int]]:
    """The labels of every word's subword tokens, found by characters."""
    found: list[list[int]] = [[] for _ in tokens]
    spans = word_spans(tokens)
    for (start, end), label in zip(row["offsets"], row["labels"], strict=True):
        touched = [i for i, (first, last) in enumerate(spans) if start < last and end > first and start < end]
        if touched:
            found[touched[0]].append(label)
        else:
            assert label == -100
    return found


class TestLabels:
    @pytest.mark.parametrize("words_split", [False, True])
    @pytest.mark.parametrize("tokens", HARD_POSTS, ids=lambda tokens: ascii(tokens[0]))
    def test_every_token_of_a_word_has_its_label(self, tokenizer, tokens, words_split):
        if words_split:
            split_at_words(tokenizer)
        row = mner_row(tokenizer, tokens)
        for labels in labels_of_words(row, tokens):
            assert labels == [1] + [2] * (len(labels) - 1)  # B-LOC, then I-LOC
        assert row["distillation_mask"] == [int(label != -100) for label in row["labels"]]
        assert len(row["labels"]) == len(row["offsets"]) == len(row["input_ids"])

    @pytest.mark.parametrize("tokens", HARD_POSTS, ids=lambda tokens: ascii(tokens[0]))
    def test_tokens_are_those_of_the_post_as_a_plain_string(self, tokenizer, tokens):
        assert mner_row(tokenizer, tokens)["input_ids"] == tokenizer(" ".join(tokens))["input_ids"]

    def test_each_tag_goes_to_its_own_word(self, tokenizer):
        split = make_split(
            [{"id": "a", "tokens": ["Mira", "Holt", "at", "Tarn"], "ner_tags": ["B-PER", "I-PER", "O", "B-LOC"]}],
            "mner",
            TAGS,
            "test",
        )
        row = {
            name: values[0]
            for name, values in ViewBuilder(tokenizer, "mner", WITHOUT_KNOWLEDGE, TAGS)(split[:]).items()
        }
        first, more = zip(
            *((labels[0], set(labels[1:])) for labels in labels_of_words(row, split[0]["tokens"])), strict=True
        )
        assert first == (3, 4, 0, 1)
        assert all(rest <= {inside} for rest, inside in zip(more, (4, 4, 0, 2), strict=True))

    def test_an_unlabelled_row(self, tokenizer):
        split = make_split([{"id": "a", "tokens": ["Mira", "sings"], "ner_tags": None}], "mner", TAGS, "test")
        row = ViewBuilder(tokenizer, "mner", WITHOUT_KNOWLEDGE, TAGS)(split[:])
        assert set(row["labels"][0]) == {-100}
        assert row["distillation_mask"][0] == [0] + [1] * (len(row["input_ids"][0]) - 2) + [0]

    def test_words_that_vanish(self):
        """WordPiece drops a no-break space and a zero-width space; their neighbours keep their own tokens."""
        tokenizer = TOKENIZER_KINDS["wordpiece"]()
        for nothing in ("\u00a0", "\u200b", "\u0301"):
            tokens = ["Mira", nothing, "sings"]
            words = labels_of_words(mner_row(tokenizer, tokens), tokens)
            assert words[1] == [] and words[0][0] == words[2][0] == 1, ascii(nothing)

    def test_a_post_of_nothing_but_a_vanishing_word(self, tokenizer):
        assert len(mner_row(tokenizer, ["\u00a0"])["input_ids"]) >= 2

    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(sorted(TOKENIZER_KINDS)),
        st.booleans(),
        st.lists(st.text(st.characters(exclude_categories=["Cs", "Zs", "Cc", "Zl", "Zp"]), min_size=1), min_size=1),
    )
    def test_any_words(self, kind, words_split, tokens):
        # drawn posts may be longer than the 512 tokens that are read by default
        row = mner_row(CACHED[kind, words_split], tokens, ViewSettings(knowledge_columns=(), max_length=100_000))
        for labels in labels_of_words(row, tokens):
            assert labels == [1] + [2] * (len(labels) - 1) or not labels


CACHED = {(kind, False): make() for kind, make in TOKENIZER_KINDS.items()}
CACHED |= {(kind, True): split_at_words(make()) for kind, make in TOKENIZER_KINDS.items()}


class TestSpecialStrings:
    SPECIAL = ["[SEP]", "[CLS]", "[PAD]", "[MASK]", "<s>", "</s>", "<pad>", "<mask>", *ENTITY_MARKERS]

    @pytest.mark.parametrize("token", SPECIAL)
    def test_characters_that_spell_a_special_token_stay_characters(self, tokenizer, token):
        from modeling_cotpd.training.pretrained import unspell_special_tokens

        unspell_special_tokens(tokenizer)
        add_entity_markers(tokenizer)
        specials = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
        specials -= {tokenizer.unk_token_id}
        row = mner_row(tokenizer, ["Mira", token, "sings"], ViewSettings(("caption",)), caption=f"a {token} b")
        assert not specials & set(row["input_ids"][1:-1])
        assert not specials & set(row["knowledge_input_ids"][len(row["input_ids"]) : -1])
        split = mre_split((["Mira", token, "sings"], (0, 1), (1, 2)))
        features = ViewBuilder(tokenizer, "mre", WITHOUT_KNOWLEDGE)(split[:])
        found = [piece for piece in features["input_ids"][0][1:-1] if piece in specials]
        assert tokenizer.convert_ids_to_tokens(found) == list(ENTITY_MARKERS)


MARKED = ["Mira", "Holt", "left", "Tarn", "Bridge"]
SPANS = {
    "head before tail": ((0, 2), (3, 5), "[E1] Mira Holt [/E1] left [E2] Tarn Bridge [/E2]"),
    "tail before head": ((3, 5), (0, 2), "[E2] Mira Holt [/E2] left [E1] Tarn Bridge [/E1]"),
    "adjacent": ((0, 2), (2, 3), "[E1] Mira Holt [/E1] [E2] left [/E2] Tarn Bridge"),
    "adjacent, tail first": ((2, 3), (0, 2), "[E2] Mira Holt [/E2] [E1] left [/E1] Tarn Bridge"),
    "tail inside head": ((0, 3), (1, 2), "[E1] Mira [E2] Holt [/E2] left [/E1] Tarn Bridge"),
    "head inside tail": ((1, 2), (0, 3), "[E2] Mira [E1] Holt [/E1] left [/E2] Tarn Bridge"),
    "same start": ((0, 1), (0, 3), "[E1] [E2] Mira [/E1] Holt left [/E2] Tarn Bridge"),
    "overlapping": ((0, 3), (2, 5), "[E1] Mira Holt [E2] left [/E1] Tarn Bridge [/E2]"),
    "whole text": ((0, 5), (4, 5), None),
    "identical": ((1, 2), (1, 2), None),
}


class TestMarkers:
    @pytest.mark.parametrize("case", SPANS)
    def test_markers_stand_once_each_and_positions_point_at_them_in_both_views(self, tokenizer, case):
        head, tail, _ = SPANS[case]
        add_entity_markers(tokenizer)
        split = mre_split((MARKED, head, tail), caption=["sings at Quarry Lane"])
        row = {
            name: value[0]
            for name, value in ViewBuilder(tokenizer, "mre", ViewSettings(("caption",)))(split[:]).items()
        }
        markers = tokenizer.convert_tokens_to_ids(list(ENTITY_MARKERS))
        for view in ("input_ids", "knowledge_input_ids"):
            assert [row[view].count(marker) for marker in markers] == [1, 1, 1, 1]
            assert [row[view][place] for place in row["marker_positions"]] == [markers[0], markers[2]]
        assert row["knowledge_input_ids"][: len(row["input_ids"])] == row["input_ids"]
        assert [piece for piece in row["input_ids"] if piece not in markers] == tokenizer(" ".join(MARKED))[
            "input_ids"
        ]
        assert row["labels"] == RELATIONS.index("knows")

    @pytest.mark.parametrize("case", [name for name, (_, _, shown) in SPANS.items() if shown])
    def test_markers_stand_around_their_words(self, case):
        head, tail, shown = SPANS[case]
        tokenizer = TOKENIZER_KINDS["wordpiece"]()
        add_entity_markers(tokenizer)
        row = ViewBuilder(tokenizer, "mre", WITHOUT_KNOWLEDGE)(mre_split((MARKED, head, tail))[:])
        pieces = tokenizer.convert_ids_to_tokens(row["input_ids"][0][1:-1])
        words = " ".join(pieces).replace(" ##", "")
        assert words == " ".join(word if "[" in word else word.lower() for word in shown.split())

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from(sorted(TOKENIZER_KINDS)), st.lists(st.integers(0, 5), min_size=4, max_size=4))
    def test_between_the_markers_stand_the_entity_s_own_pieces(self, kind, places):
        words = [*MARKED, "\u00a0"]
        head, tail = ((min(pair), max(pair) + 1) for pair in (places[:2], places[2:]))
        tokenizer = MARKING[kind]
        spans = {
            side: [dict(zip(("start", "end"), span, strict=True))] for side, span in (("head", head), ("tail", tail))
        }
        batch = {"id": ["p"], "tokens": [words], **spans, "relation": [1]}
        row = ViewBuilder(tokenizer, "mre", WITHOUT_KNOWLEDGE)(batch)
        markers = tokenizer.convert_tokens_to_ids(list(ENTITY_MARKERS))
        text = " ".join(words)
        encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        ids = row["input_ids"][0]
        for (start, end), span in (((markers[0], markers[1]), head), ((markers[2], markers[3]), tail)):
            inside = [piece for piece in ids[ids.index(start) : ids.index(end)] if piece not in markers]
            spans = word_spans(words)
            first, last = spans[span[0]][0], spans[span[1] - 1][1]
            expected = [
                piece
                for piece, (a, b) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
                if b > first and a < last
            ]
            assert inside == expected

    def test_an_unlabelled_relation(self, wordpiece):
        add_entity_markers(wordpiece)
        row = {"id": "a", "tokens": MARKED, "head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}}
        split = make_split([{**row, "relation": None}], "mre", RELATIONS, "test")
        assert ViewBuilder(wordpiece, "mre", WITHOUT_KNOWLEDGE)(split[:])["labels"] == [-100]

    def test_a_tokenizer_without_markers(self, wordpiece):
        with pytest.raises(ValueError, match="lacks the entity markers"):
            ViewBuilder(wordpiece, "mre", WITHOUT_KNOWLEDGE)


MARKING = {kind: make() for kind, make in TOKENIZER_KINDS.items()}
for _tokenizer in MARKING.values():
    add_entity_markers(_tokenizer)


class TestBudget:
    @given(st.lists(st.integers(0, 300), max_size=6), st.integers(-20, 900))
    def test_properties(self, wanted, budget):
        given_ = share_budget(wanted, budget)
        assert len(given_) == len(wanted) and all(0 <= got <= want for got, want in zip(given_, wanted, strict=True))
        assert sum(given_) == min(sum(wanted), max(0, budget))
        if sum(wanted) <= budget:
            assert given_ == wanted
        # max-min fair: whoever was cut has at least as much as anybody else, up to one indivisible piece
        cut = [got for got, want in zip(given_, wanted, strict=True) if got < want]
        assert all(max(given_, default=0) - got <= 1 for got in cut)
        assert cut == sorted(cut, reverse=True)

    @pytest.mark.parametrize(
        ("wanted", "budget", "expected"),
        [
            ([10, 100, 100], 120, [10, 55, 55]),
            ([100, 100, 100], 100, [34, 33, 33]),
            ([5, 0, 50], 1, [1, 0, 0]),
            ([40, 41], 80, [40, 40]),
            ([], 10, []),
            ([7], 0, [0]),
        ],
    )
    def test_examples(self, wanted, budget, expected):
        assert share_budget(wanted, budget) == expected


LONG = "Mira sings at Quarry Lane tonight " * 12


class TestKnowledgeView:
    def test_text_then_columns_each_closed(self, tokenizer):
        row = mner_row(
            tokenizer, ["Mira", "sings"], ViewSettings(("caption", "cot_noun")), caption="a dog", cot_noun="Mira"
        )
        suffix = tokenizer("a")["input_ids"][-1:]
        pieces = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a dog", "Mira")]
        expected = row["input_ids"] + pieces[0] + suffix + pieces[1] + suffix
        assert row["knowledge_input_ids"] == expected and row["cut_tokens"] == [0, 0]

    def test_columns_come_in_the_order_asked_for(self, wordpiece):
        knowledge = {"caption": "a dog", "cot_noun": "Mira"}
        one = mner_row(wordpiece, ["x"], ViewSettings(("caption", "cot_noun")), **knowledge)["knowledge_input_ids"]
        other = mner_row(wordpiece, ["x"], ViewSettings(("cot_noun", "caption")), **knowledge)["knowledge_input_ids"]
        assert one != other and sorted(one) == sorted(other)

    def test_empty_columns_leave_no_trace(self, tokenizer):
        row = mner_row(tokenizer, ["Mira", "sings"], ViewSettings(), caption="", cot_noun="")
        assert row["knowledge_input_ids"] == row["input_ids"] and row["cut_tokens"] == [0, 0, 0, 0]

    @pytest.mark.parametrize("max_length", [8, 20, 21, 22, 40, 64, 100])
    def test_fits_and_keeps_the_text_whole(self, tokenizer, max_length):
        tokens = ["Mira", "s"]
        limit = ViewSettings(("caption", "cot_noun", "cot_sentence"), max_length)
        knowledge = {"caption": LONG, "cot_noun": "dog", "cot_sentence": LONG + LONG}
        row = mner_row(tokenizer, tokens, limit, **knowledge)
        view, text = row["knowledge_input_ids"], tokenizer(" ".join(tokens))["input_ids"]
        assert len(view) <= max_length and view[: len(text)] == row["input_ids"] == text
        wanted = [len(tokenizer(value, add_special_tokens=False)["input_ids"]) for value in knowledge.values()]
        kept = [want - cut for want, cut in zip(wanted, row["cut_tokens"], strict=True)]
        assert len(view) == len(text) + sum(kept) + sum(1 for count in kept if count)
        room = max_length - len(text) - 3
        assert sum(kept) == min(sum(wanted), max(0, room))

    def test_no_view_without_columns(self, wordpiece):
        assert "knowledge_input_ids" not in mner_row(wordpiece, ["Mira"])

    def test_text_too_long_names_the_row(self, wordpiece):
        split = mner_split(["Mira"], ["Mira"] * 30)
        for limit in (ViewSettings((), max_length=20), ViewSettings((), max_text_length=20)):
            with pytest.raises(
                DataError, match=r"row 'p1': The text has 32 subword tokens; the model reads at most 20"
            ):
                ViewBuilder(wordpiece, "mner", limit, TAGS)(split[:])

    def test_a_text_of_exactly_the_limit_passes(self, wordpiece):
        row = mner_row(wordpiece, ["Mira"] * 18, ViewSettings(("caption",), 20, 20), caption=LONG)
        assert row["knowledge_input_ids"] == row["input_ids"] and row["cut_tokens"][0] > 0

    def test_settings_are_checked(self):
        with pytest.raises(SettingError, match=r"unknown column 'captions'.*caption, cot_noun"):
            ViewSettings(("captions",))
        with pytest.raises(SettingError, match="max_length must be at least 8, got 7"):
            ViewSettings(max_length=7)

    def test_a_slow_tokenizer_is_refused(self, tmp_path):
        from transformers import PythonBackend

        class Slow(PythonBackend):
            vocab_size = 1

            def get_vocab(self):
                return {"a": 0}

        with pytest.raises(SettingError, match="Slow is a slow tokenizer"):
            ViewBuilder(Slow(), "mner", WITHOUT_KNOWLEDGE)


class TestBuildFeatures:
    def parquet(self, tmp_path, *posts, name="split", **columns) -> Dataset:
        mner_split(*posts, **columns).to_parquet(tmp_path / f"{name}.parquet")
        return Dataset.from_parquet(str(tmp_path / f"{name}.parquet"), cache_dir=str(tmp_path / "cache"))

    def test_columns(self, wordpiece):
        features = build_features(mner_split(["Mira", "sings"], ["dog"]), wordpiece, ViewSettings())
        assert set(features.column_names) == {
            "input_ids",
            "offsets",
            "distillation_mask",
            "labels",
            "knowledge_input_ids",
            "length",
        }
        assert len(features) == 2

    def test_an_empty_split(self, wordpiece):
        empty = Dataset.from_dict(
            {name: [] for name in features_for("mner", TAGS)}, features=features_for("mner", TAGS)
        )
        with pytest.raises(DataError, match="no rows"):
            build_features(empty, wordpiece, ViewSettings())

    def test_the_second_call_reads_the_cache(self, wordpiece, tmp_path, monkeypatch):
        split = self.parquet(tmp_path, ["Mira", "sings"], ["dog"], caption=["a dog", ""])
        first = build_features(split, wordpiece, ViewSettings())
        assert first.cache_files
        wordpiece(["a longer text", "a"], padding=True, truncation=True, max_length=8)  # use changes the object
        calls = []
        monkeypatch.setattr(ViewBuilder, "__call__", lambda self, batch: calls.append(batch))
        again = Dataset.from_parquet(str(tmp_path / "split.parquet"), cache_dir=str(tmp_path / "cache"))
        second = build_features(again, wordpiece, ViewSettings())
        assert not calls and second.cache_files == first.cache_files and second[:] == first[:]

    def test_other_settings_or_another_tokenizer_make_other_features(self, tmp_path):
        split = self.parquet(tmp_path, ["Mira", "sings"], caption=["a dog at Tarn Bridge tonight with Mira Holt"])
        first, second = TOKENIZER_KINDS["wordpiece"](), TOKENIZER_KINDS["bpe"]()
        whole = build_features(split, first, ViewSettings(("caption",)))
        assert build_features(split, first, ViewSettings(("caption",), 10))[:] != whole[:]
        assert build_features(split, first, ViewSettings(()))[:] != whole[:]
        assert build_features(split, second, ViewSettings(("caption",)))[:] != whole[:]
        add_entity_markers(first)
        assert build_features(split, first, ViewSettings(("caption",)))[:] == whole[:]

    def test_changed_data_is_read_anew(self, wordpiece, tmp_path):
        one = build_features(self.parquet(tmp_path, ["Mira"]), wordpiece, ViewSettings())
        other = build_features(self.parquet(tmp_path, ["dog"]), wordpiece, ViewSettings())
        assert one[0]["input_ids"] != other[0]["input_ids"]

    def test_cuts_are_counted_and_logged(self, wordpiece, caplog):
        split = mner_split(["x"], ["x"], ["x"], caption=[LONG, "a dog", ""], cot_noun=["dog", LONG, ""])
        with caplog.at_level(logging.WARNING, "modeling_cotpd.data.views"):
            features = build_features(split, wordpiece, ViewSettings(("caption", "cot_noun"), 30))
        (record,) = caplog.records
        long, dog, phrase = (
            len(wordpiece(text, add_special_tokens=False)["input_ids"]) for text in (LONG, "dog", "a dog")
        )
        room = 30 - 3 - 2
        expected = f"caption {long - (room - dog)}, cot_noun {long - (room - phrase)}"
        assert record.getMessage().startswith("2 of 3 knowledge views were cut to 30 subword tokens")
        assert expected in record.getMessage()
        assert "cut_tokens" not in features.column_names

    def test_nothing_is_logged_when_all_fits(self, wordpiece, caplog):
        with caplog.at_level(logging.WARNING, "modeling_cotpd.data.views"):
            build_features(mner_split(["x"], caption=["a dog"]), wordpiece, ViewSettings())
        assert not caplog.records


def test_real_posts_align(real_data, tokenizer):
    """Every word of real posts has tokens of its own, in order, with each tokenizer kind."""
    from modeling_cotpd.data.conll import ConllForm, read_conll

    path = real_data / "twitter2015" / "valid.txt"
    posts = [post["tokens"] for post in read_conll(path, "validation", ConllForm(published=True))]
    assert len(posts) == 1000
    builder = ViewBuilder(tokenizer, "mner", ViewSettings(knowledge_columns=(), max_length=4096), TAGS)
    columns = builder({"id": ["p"] * 1000, "tokens": posts, "ner_tags": [[1] * len(tokens) for tokens in posts]})
    missing = 0
    for index, tokens in enumerate(posts):
        row = {name: values[index] for name, values in columns.items()}
        missing += sum(not labels for labels in labels_of_words(row, tokens))
    assert missing <= 60


GLOSSES = [{"mention": "Mira Holt", "gloss": "singer"}, {"mention": "Tarn Bridge", "gloss": "place"}]
INLINE = ViewSettings(("cot_noun",), placement="inline")


class TestInline:
    def shown(self, tokenizer, row: dict) -> str:
        return " ".join(tokenizer.convert_ids_to_tokens(row["knowledge_input_ids"][1:-1])).replace(" ##", "")

    def test_each_gloss_stands_behind_its_mention(self):
        tokenizer = TOKENIZER_KINDS["wordpiece"]()
        row = mner_row(tokenizer, ["Mira", "Holt", "at", "#TarnBridge"], INLINE, glosses=GLOSSES)
        text = "[ mira holt ] ( singer ) at # [ tarnbridge ] ( place )"
        assert self.shown(tokenizer, row) == text.replace("(", "[UNK]").replace(")", "[UNK]")

    def test_text_positions_find_the_text_again(self, tokenizer):
        row = mner_row(tokenizer, ["Mira", "Holt", "at", "Tarn", "Bridge", "!"], INLINE, glosses=GLOSSES)
        view = row["knowledge_input_ids"]
        assert [view[place] for place in row["knowledge_text_positions"]] == row["input_ids"]
        assert len(view) > len(row["input_ids"]) and row["length"] == len(view)

    def test_labels_stay_at_the_text(self, tokenizer):
        tokens = ["Mira", "Holt", "sings"]
        with_gloss = mner_row(tokenizer, tokens, INLINE, glosses=GLOSSES)
        without = mner_row(tokenizer, tokens)
        assert with_gloss["labels"] == without["labels"] and with_gloss["input_ids"] == without["input_ids"]

    @pytest.mark.parametrize(
        "glosses", [[], [{"mention": "Otters", "gloss": "team"}], [{"mention": "!", "gloss": "x"}]]
    )
    def test_a_gloss_that_names_nothing_changes_nothing(self, tokenizer, glosses):
        row = mner_row(tokenizer, ["Mira", "Holt", "sings"], INLINE, glosses=glosses)
        assert row["knowledge_input_ids"] == row["input_ids"]
        assert row["knowledge_text_positions"] == list(range(len(row["input_ids"])))

    def test_other_columns_follow_behind_the_text(self, tokenizer):
        settings_ = ViewSettings(("caption", "cot_noun", "cot_sentence"), placement="inline")
        row = mner_row(tokenizer, ["Mira", "Holt"], settings_, glosses=GLOSSES, caption="a dog", cot_noun="Mira: x")
        alone = mner_row(tokenizer, ["Mira", "Holt"], INLINE, glosses=GLOSSES)
        caption = tokenizer("a dog", add_special_tokens=False)["input_ids"]
        end = tokenizer("a")["input_ids"][-1:]
        assert row["knowledge_input_ids"] == alone["knowledge_input_ids"] + caption + end
        assert settings_.sources == ("glosses", "caption", "cot_sentence")

    @pytest.mark.parametrize(
        "gloss",
        [
            "[SEP] ) ] ( [",
            "</s> <s>",
            "[E1]",
            "x" * 5000,
            "word " * 1000,
            "\u6b4c\u624b",
            "\u0645\u0637\u0631\u0628",
            "\ud83d",
        ],
    )
    @pytest.mark.parametrize("max_length", [12, 24, 512])
    def test_hostile_glosses_are_text_and_cut(self, tokenizer, gloss, max_length):
        view = ViewSettings(("cot_noun",), max_length, placement="inline")
        tokens = ["Mira", "Holt"]
        glosses = [{"mention": "Mira", "gloss": gloss}, {"mention": "Holt", "gloss": gloss}]
        room = max(max_length, len(tokenizer("Mira Holt")["input_ids"]))
        row = mner_row(tokenizer, tokens, ViewSettings(("cot_noun",), room, placement="inline"), glosses=glosses)
        specials = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
        ids = row["knowledge_input_ids"]
        assert not specials & set(ids[1:-1]) or tokenizer.backend_tokenizer.model.__class__.__name__ == "Unigram"
        assert len(ids) <= room
        assert [ids[place] for place in row["knowledge_text_positions"]] == row["input_ids"]
        # the longest gloss: 32 tokens and four brackets for each of two mentions
        assert len(ids) <= len(row["input_ids"]) + 2 * (
            32 + sum(map(len, ViewBuilder(tokenizer, "mner", view).brackets))
        )

    def test_glosses_that_do_not_fit_are_left_out_from_the_last(self):
        tokenizer = TOKENIZER_KINDS["wordpiece"]()
        settings_ = ViewSettings(("cot_noun",), 12, placement="inline")
        row = mner_row(tokenizer, ["Mira", "and", "Holt"], settings_, glosses=[
            {"mention": "Mira", "gloss": "sings"}, {"mention": "Holt", "gloss": "sings"},
        ])  # fmt: skip
        text = len(row["input_ids"])
        assert text < len(row["knowledge_input_ids"]) <= 12
        assert row["knowledge_text_positions"][2] > 2 and row["cut_tokens"][0] > 0

    @pytest.mark.parametrize("case", SPANS)
    def test_markers_of_relations_are_found_in_the_view(self, tokenizer, case):
        head, tail, _ = SPANS[case]
        add_entity_markers(tokenizer)
        split = mre_split((MARKED, head, tail), glosses=[GLOSSES])
        columns = ViewBuilder(tokenizer, "mre", INLINE)(split[:])
        row = {name: values[0] for name, values in columns.items()}
        view, positions = row["knowledge_input_ids"], row["knowledge_text_positions"]
        assert [view[place] for place in positions] == row["input_ids"] and len(view) > len(row["input_ids"])
        starts = tokenizer.convert_tokens_to_ids([ENTITY_MARKERS[0], ENTITY_MARKERS[2]])
        assert [view[positions[place]] for place in row["marker_positions"]] == starts

    def test_settings_are_checked(self):
        with pytest.raises(SettingError, match="knowledge_placement must be one of appended, inline, got 'behind'"):
            ViewSettings(placement="behind")
        with pytest.raises(SettingError, match="knowledge_columns lacks"):
            ViewSettings(("caption",), placement="inline")
