"""A spaCy component: `nlp.add_pipe("cotpd", config={"model": "output/twitter2017"})`."""

from collections.abc import Iterable, Iterator
from itertools import islice

from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.batches import BatchSettings
from modeling_cotpd.inference.colours import colour_of, types_of
from modeling_cotpd.inference.load import load_predictor

try:
    from spacy.language import Language
    from spacy.tokens import Doc
    from spacy.util import filter_spans, registry
except ImportError as error:
    raise SettingError("spaCy is not installed.", fix="pip install 'modeling_cotpd[spacy]'") from error


@Language.factory("cotpd", default_config={"model": "", "device": "cpu", "batch_size": 32})
class CoTPDComponent:
    """Sets `doc.ents` from a model for named entity recognition, from the text alone.

    A spaCy token may hold more than an entity, as "@mira" does; `doc.ents` then has the whole token, and
    `doc.user_data["cotpd"]` the exact characters and the scores, as `EntityPredictor` returns them. displaCy shows the
    types in the colours of the demo.

    Args:
        nlp (`Language`), name (`str`): Given by spaCy.
        model (`str`): A run's output folder, or a Hub repository.
        device (`str`, *optional*, defaults to `"cpu"`): Where the model runs.
        batch_size (`int`, *optional*, defaults to 32): The maximum number of texts in a batch.

    Raises:
        SettingError: There is no such model, or it is for relations.

    Example:

    ```python
    >>> import spacy
    >>> nlp = spacy.blank("en")
    >>> nlp.add_pipe("cotpd", config={"model": "output/twitter2017"})  # doctest: +SKIP
    >>> [(ent.text, ent.label_) for ent in nlp("Maya Stone moved to Harlow").ents]  # doctest: +SKIP
    [('Maya Stone', 'PER'), ('Harlow', 'LOC')]
    ```
    """

    def __init__(self, nlp: Language, name: str, model: str, device: str, batch_size: int):
        if not model:
            raise SettingError("The component needs a model.", fix='config={"model": "output/twitter2017"}')
        self.predictor, _ = load_predictor(model, task="mner", device=device, batches=BatchSettings(batch_size))
        kinds = types_of(self.predictor.label_names)
        registry.displacy_colors.register("cotpd", func={kind: colour_of(kind, kinds) for kind in kinds})

    def __call__(self, doc: Doc) -> Doc:
        return next(self.pipe([doc], batch_size=1))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 256) -> Iterator[Doc]:
        """Annotate documents in batches, as `nlp.pipe` does."""
        stream = iter(stream)
        while docs := list(islice(stream, batch_size)):
            rows = self.predictor([Post(str(number), doc.text, "the text") for number, doc in enumerate(docs)])
            for doc, row in zip(docs, rows, strict=True):
                entities = row["entities"]
                spans = [
                    doc.char_span(entity["start"], entity["end"], label=entity["type"], alignment_mode="expand")
                    for entity in entities
                ]
                doc.set_ents(filter_spans([span for span in spans if span is not None]))
                doc.user_data["cotpd"] = entities
                yield doc
