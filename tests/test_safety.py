"""Nothing that comes with a downloaded folder runs by itself: no pickles, no code without trust_remote_code."""

import ast
import builtins
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from support.published_runs import write_run
from support.tiny_models import TOKENIZER_KINDS, tiny_encoder_config

from modeling_cotpd import CoTPDForTokenClassification
from modeling_cotpd.data.posts import Post
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.training.arguments import ModelArguments
from modeling_cotpd.training.pretrained import load_tokenizer, make_model
from modeling_cotpd.training.tasks import TASKS
from modeling_cotpd.training.trainer import CoTPDTrainer
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

PACKAGE = Path(__file__).parents[1] / "modeling_cotpd"
CALLS = [
    (path.relative_to(PACKAGE).as_posix(), node)
    for path in sorted(PACKAGE.rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text("utf-8")))
    if isinstance(node, ast.Call)
]


@pytest.fixture
def no_question_is_asked(monkeypatch):
    """transformers asks on the standard input where nothing says whether code may run."""

    def ask(*_):
        raise AssertionError("a question was asked")

    monkeypatch.setattr(builtins, "input", ask)


@pytest.fixture
def marker(tmp_path) -> Path:
    """A file that exists when hostile code ran."""
    return tmp_path / "it-ran"


class Hostile:
    """A pickle that runs code when it is loaded."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def hostile_code(folder: Path, name: str, marker: Path) -> None:
    (folder / f"{name}.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n", "utf-8")


def change_json(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A finished model, and a plain encoder; tests copy what they change."""
    root = tmp_path_factory.mktemp("made")
    write_run(root / "run")
    tokenizer = TOKENIZER_KINDS["wordpiece"]()
    transformers.AutoModel.from_config(tiny_encoder_config("bert")).save_pretrained(root / "encoder")
    tokenizer.save_pretrained(root / "encoder")
    return root


@pytest.fixture
def run(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


@pytest.fixture
def encoder(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "encoder", tmp_path / "encoder"))


def as_pickle(folder: Path, marker: Path) -> None:
    """The weights of a folder as a checkpoint of the old kind, with hostile code in it."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({**weights, "x": Hostile(marker)}))


class TestPickles:
    def test_a_hostile_pickle_runs_code(self, run, marker):
        as_pickle(run, marker)
        pickle.loads((run / "pytorch_model.bin").read_bytes())
        assert marker.exists()

    def test_a_finished_model(self, run, marker):
        as_pickle(run, marker)
        for load in (CoTPDForTokenClassification.from_pretrained, lambda place: load_predictor(str(place))):
            with pytest.raises(OSError, match=r"only a pickle checkpoint \(pytorch_model.bin\), which can run code"):
                load(run)
        with pytest.raises(ValueError, match="Only safetensors"):
            CoTPDForTokenClassification.from_pretrained(run, use_safetensors=False)
        assert not marker.exists()

    def test_safetensors_beside_a_pickle_are_taken(self, run, marker):
        (run / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile(marker)))
        assert CoTPDForTokenClassification.from_pretrained(run) and not marker.exists()

    def test_an_encoder(self, encoder, marker):
        as_pickle(encoder, marker)
        with pytest.raises(OSError, match="only a pickle checkpoint"):
            CoTPDForTokenClassification.from_encoder(str(encoder))
        with pytest.raises(OSError, match="only a pickle checkpoint"):
            make_model(TASKS["mner"], ModelArguments(str(encoder)), ["O"])
        assert not marker.exists()


@pytest.mark.usefixtures("no_question_is_asked")
class TestCode:
    def test_code_beside_a_finished_model(self, run, marker):
        """The package's own classes are used, whatever lies in the folder."""
        for path in run.glob("*.py"):
            hostile_code(run, path.stem, marker)
        hostile_code(run, "pipeline_cotpd", marker)
        change_json(run / "config.json", custom_pipelines={"x": {"impl": "pipeline_cotpd.X", "pt": []}})
        predictor, task = load_predictor(str(run))
        assert task == "mner" and predictor([Post("1", "Mira", "here")])[0]["id"] == "1"
        assert not marker.exists()

    def test_code_named_by_the_encoder_within(self, run, marker):
        hostile_code(run, "evil", marker)
        config = json.loads((run / "config.json").read_text("utf-8"))
        config["encoder_config"]["auto_map"] = {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}
        change_json(run / "config.json", encoder_config=config["encoder_config"])
        load_predictor(str(run))
        assert not marker.exists()

    def test_an_unknown_encoder(self, encoder, marker):
        hostile_code(encoder, "evil", marker)
        places = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
        change_json(encoder / "config.json", model_type="evil", auto_map=places)
        for load in (
            lambda: make_model(TASKS["mner"], ModelArguments(str(encoder)), ["O"]),
            lambda: load_predictor(str(encoder)),
            lambda: CoTPDForTokenClassification.from_encoder(str(encoder)),
        ):
            with pytest.raises((ValueError, OSError)):
                load()
        assert not marker.exists()

    def test_a_tokenizer(self, encoder, marker):
        hostile_code(encoder, "evil", marker)
        places = {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}
        change_json(encoder / "tokenizer_config.json", auto_map=places, tokenizer_class="Evil")
        assert load_tokenizer(str(encoder)).is_fast
        assert not marker.exists()

    def test_code_runs_when_it_is_trusted(self, encoder, marker):
        """So the folders above are as hostile as they should be."""
        hostile_code(encoder, "evil", marker)
        change_json(encoder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config"})
        with pytest.raises((AttributeError, ValueError)):
            transformers.AutoConfig.from_pretrained(encoder, trust_remote_code=True)
        assert marker.exists()


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def test_every_loading_says_whether_code_is_trusted():
    loadings = [(place, call) for place, call in CALLS if name_of(call).startswith("Auto")]
    loadings = [(place, call) for place, call in loadings if name_of(call).endswith(".from_pretrained")]
    assert len(loadings) > 8
    silent = [
        f"{place}, line {call.lineno}"
        for place, call in loadings
        if not any(keyword.arg in (None, "trust_remote_code") for keyword in call.keywords)
    ]
    assert not silent


def test_nothing_that_unpickles_unpacks_or_evaluates():
    wrong = ("torch.load", "pickle.load", "pickle.loads", "np.load", "yaml.load", "eval", "exec", "os.system")
    wrong += ("shutil.unpack_archive", "zipfile.ZipFile", "tarfile.open", "gzip.open")
    # published reads one member of an archive in place, within bounds; nothing is unpacked to the disk
    known = {("data/published.py", "zipfile.ZipFile")}
    found = {(place, name_of(call)) for place, call in CALLS if name_of(call) in wrong}
    assert found == known


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_hostile_training_state_is_refused(run, marker, name):
    """A run is resumed with the Trainer's reader, which takes tensors and numbers only."""
    checkpoint = run / "checkpoint-1"
    args = CoTPDTrainingArguments(str(run), report_to="none", use_cpu=True)
    trainer = CoTPDTrainer(model=CoTPDForTokenClassification.from_pretrained(run), args=args)
    trainer.create_optimizer_and_scheduler(1)
    for state, value in (("optimizer.pt", trainer.optimizer), ("scheduler.pt", trainer.lr_scheduler)):
        torch.save(value.state_dict(), checkpoint / state)
    torch.save({"state": Hostile(marker)}, checkpoint / name)
    with pytest.raises(pickle.UnpicklingError):
        trainer._load_optimizer_and_scheduler(str(checkpoint))
        trainer._load_rng_state(str(checkpoint))
    assert not marker.exists()
