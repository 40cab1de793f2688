"""What is published of a run, and pushing it to a stand-in for the Hub."""

import json
import shutil
import threading
from pathlib import Path

import huggingface_hub
import pytest
import torch
from datasets import Dataset
from huggingface_hub import ModelCard
from support.hub_stand_in import READER, WRITER, HubStandIn, use_hub
from support.published_runs import write_run
from support.tiny_models import tiny_model

from modeling_cotpd import CoTPDForTokenClassification
from modeling_cotpd.errors import SettingError
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.hub import collect, published_results, push
from modeling_cotpd.training.trainer import CoTPDTrainer
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

CODE = {
    "configuration_cotpd.py", "crf_cotpd.py", "encoder_cotpd.py", "markers_cotpd.py", "modeling_cotpd.py",
    "outputs_cotpd.py", "pipeline_cotpd.py", "pretrained_cotpd.py", "prompt_cotpd.py",
}  # fmt: skip
REST = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md", "results.json"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """Runs of both tasks; tests copy what they change."""
    root = tmp_path_factory.mktemp("saved")
    for task in ("mner", "mre"):
        write_run(root / task, task)
    return root


@pytest.fixture
def run(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved / "mner", tmp_path / "run"))


@pytest.fixture
def hub(monkeypatch):
    with HubStandIn() as running:
        use_hub(monkeypatch, running)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        yield running


class TestWhatGoes:
    def test_files(self, saved):
        for task in ("mner", "mre"):
            assert set(collect(saved / task, "me/x")) == CODE | REST

    def test_an_export_in_the_folder(self, run):
        shutil.copytree(run, run / "onnx", ignore=shutil.ignore_patterns("onnx", "README.md", "*.py", "*.safetensors"))
        (run / "onnx" / "model.onnx").write_bytes(b"graph")
        files = collect(run, "me/x")
        exported = {name for name in files if name.startswith("onnx/")}
        assert {"onnx/model.onnx", "onnx/config.json", "onnx/tokenizer.json"} <= exported
        (run / "onnx" / "config.json").write_text(json.dumps({"_name_or_path": f"{Path.home()}/model"}), "utf-8")
        with pytest.raises(SettingError, match=r"onnx/config\.json"):
            collect(run, "me/x")

    def test_the_card_bears_the_name_on_the_hub(self, run):
        card = ModelCard(collect(run, "me/x")["README.md"].decode())
        assert card.data.model_name == "me/x" and '"me/x"' in card.text and "# me/x" in card.text
        assert {one.metric_name for one in card.data.eval_results} >= {
            "Entity F1, prompt view",
            "Entity F1, knowledge view",
        }

    def test_an_edited_card_goes_as_it_is(self, run):
        path = run / "README.md"
        path.write_text(path.read_text("utf-8") + "\nBy Mira.\n", "utf-8")
        assert collect(run, "me/x")["README.md"].decode() == path.read_text("utf-8")

    def test_nothing_tells_of_this_machine(self, run):
        for content in collect(run, "me/x").values():
            text = content.decode() if isinstance(content, bytes) else content.read_bytes().decode("utf-8", "replace")
            for place in ("/home/someone", "/models", "10.0.0.7", "2 cores", str(run), "run_mner.py --"):
                assert place not in text

    @pytest.mark.parametrize("address", ["https://api.example.com/v1", "https://huggingface.co"])
    def test_addresses_that_everybody_knows_stay(self, address):
        found = published_results({"dataset": {"knowledge": f"gpt at {address}, dialogue mode"}})
        assert found["dataset"]["knowledge"] == f"gpt at {address}, dialogue mode"

    @pytest.mark.parametrize(
        "address",
        [
            "http://box:80/v1", "https://localhost/v1", "https://u:key@api.example.com/v1", "https://box.local/v1",
            "https://llm.corp.internal:8000/v1", "https://api.example.com/v1?api-key=secret", "ftp://10.0.0.7/x",
            "https://gpu.lan/v1", "https://[::1]/v1", "ws://node-3/v1",
        ],
    )  # fmt: skip
    def test_private_addresses_do_not_go(self, address):
        found = published_results({"dataset": {"knowledge": f"gpt at {address}, dialogue mode"}})
        text = found["dataset"]["knowledge"]
        assert text.startswith("gpt at a private address") and text.endswith(" dialogue mode") and "secret" not in text

    @pytest.mark.parametrize(
        ("text", "published"),
        [
            ("/home/me/models/tiny.gguf", "tiny.gguf"),
            ("tiny at /home/me/models/tiny.gguf, alone", "tiny at tiny.gguf, alone"),
            ("C:\\Users\\me\\tiny.gguf", "tiny.gguf"),
            ("~/models/tiny.gguf", "tiny.gguf"),
            ("person/player and organization/league", "person/player and organization/league"),
            ("some/encoder", "some/encoder"),
            ("1/2 of the posts", "1/2 of the posts"),
        ],
    )
    def test_paths_become_names(self, text, published):
        assert published_results({"dataset": {"knowledge": [text]}})["dataset"]["knowledge"] == [published]

    def test_relations_that_look_like_paths_stay(self):
        names = ["None", "/per/loc/place_of_residence"]
        results = {"label_names": names, "dataset": {"label_names": names}, "example": {"label": names[1]}}
        assert published_results(results) == results

    def test_a_link_out_of_the_folder_is_refused(self, run, tmp_path):
        (tmp_path / "private.txt").write_text("{}", "utf-8")
        (run / "tokenizer_config.json").unlink()
        (run / "tokenizer_config.json").symlink_to(tmp_path / "private.txt")
        with pytest.raises(SettingError, match=r"tokenizer_config.json is a link to .*private.txt, outside"):
            collect(run, "me/x")

    def test_without_results_the_card_says_not_recorded(self, run):
        (run / "results.json").unlink()
        (run / "README.md").unlink()
        files = collect(run, "me/x")
        assert "results.json" not in files and "The scores are not recorded." in files["README.md"].decode()

    @pytest.mark.parametrize(
        "change, message",
        [
            (lambda run: shutil.rmtree(run), "no such folder"),
            (lambda run: (run / "config.json").unlink(), "holds no model"),
            (lambda run: (run / "config.json").write_text('{"architectures": ["BertModel"]}'), "not a trained CoTPD"),
            (lambda run: (run / "config.json").write_text("{"), "not a trained CoTPD"),
            (lambda run: (run / "model.safetensors").unlink(), "holds no weights"),
            (lambda run: (run / "model.safetensors").write_bytes(b"cut"), "is not a safetensors file"),
            (lambda run: (run / "model.safetensors").rename(run / "pytorch_model.bin"), "only a pickle checkpoint"),
            (lambda run: [path.unlink() for path in run.glob("tokenizer*")], "no tokenizer"),
            (lambda run: (run / "prompt_cotpd.py").unlink(), "code file prompt_cotpd.py is missing"),
            (lambda run: (run / "results.json").write_text("[]"), "not results of mner"),
            (lambda run: (run / "README.md").write_text(f"See {Path.home()}/notes"), "names a place on this machine"),
        ],
    )
    def test_refused(self, run, change, message):
        change(run)
        with pytest.raises((SettingError, OSError), match=message):
            collect(run, "me/x")


class TestPush:
    def test_one_commit_holds_it_all(self, hub, run):
        files = collect(run, "tester/x")
        push(files, "x", message="First")
        assert set(hub.files("tester/x")) == set(files)
        assert hub.files("tester/x")["model.safetensors"] == (run / "model.safetensors").read_bytes()
        assert hub.repos["tester/x"]["commits"] == ["First"] and not hub.repos["tester/x"]["private"]

    def test_private_branch_and_pull_request(self, hub, run):
        files = collect(run, "tester/x")
        push(files, "tester/x", private=True, revision="trial")
        assert hub.repos["tester/x"]["private"] and hub.files("tester/x") == {}
        assert set(hub.files("tester/x", "trial")) == set(files)
        info = push(files, "tester/x", create_pr=True)
        assert info.pr_url.endswith("/discussions/1") and hub.files("tester/x") == {}
        with pytest.raises(SettingError, match="against main"):
            push(files, "tester/x", create_pr=True, revision="trial")

    def test_private_never_lands_in_public(self, hub, run):
        files = collect(run, "tester/x")
        push(files, "tester/x")
        with pytest.raises(SettingError, match="exists and is public"):
            push(files, "tester/x", private=True)

    def test_no_token(self, hub, run, monkeypatch):
        monkeypatch.setattr("modeling_cotpd.training.hub.get_token", lambda: None)
        with pytest.raises(SettingError, match="hf auth login"):
            push(collect(run, "x"), "x")
        assert hub.requests == []

    @pytest.mark.parametrize(
        "token, repo, message",
        [
            ("hf_nobody", "tester/x", "does not accept the access token .401"),
            (READER, "tester/x", "may not write there .403"),
            (WRITER, "other/x", "may not write there .403"),
            (WRITER, "a/b/c", "cannot be a repository's name"),
        ],
    )
    def test_declined(self, hub, run, token, repo, message):
        with pytest.raises(SettingError, match=message):
            push(collect(run, repo), repo, token=token)
        assert hub.repos == {}

    @pytest.mark.parametrize(
        "part, status, message",
        [("/commit/", 409, "at the same time"), ("/lfs/", 403, "may not write"), ("/commit/", 400, "answers 400")],
    )
    def test_declined_half_way(self, hub, run, part, status, message):
        hub.fail[part] = status
        with pytest.raises(SettingError, match=message):
            push(collect(run, "tester/x"), "tester/x")
        assert hub.files("tester/x") == {}

    def test_uploads_are_not_in_threads_that_ctrl_c_would_wait_for(self, hub, run, monkeypatch):
        monkeypatch.setattr("modeling_cotpd.training.hub.LARGE", 1000)
        upload, threads = huggingface_hub._commit_api.lfs_upload, []

        def recorded(**arguments):
            threads.append(threading.current_thread())
            return upload(**arguments)

        monkeypatch.setattr(huggingface_hub._commit_api, "lfs_upload", recorded)
        push(collect(run, "tester/x"), "tester/x")
        assert threads == [threading.main_thread()] * 2

    def test_no_server_answers(self, hub, run, monkeypatch):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(SettingError, match="cannot be reached"):
            push(collect(run, "tester/x"), "tester/x")


class TestTrainer:
    def test_push_to_hub(self, hub, run, tmp_path):
        args = CoTPDTrainingArguments(
            str(run), hub_model_id="tester/t", hub_token=WRITER, report_to="none", use_cpu=True, push_to_hub=True,
            hub_private_repo=True,
        )  # fmt: skip
        model = CoTPDForTokenClassification.from_pretrained(run)
        with torch.no_grad():
            model.classifier.bias.fill_(2.0)
        trainer = CoTPDTrainer(model=model, args=args)
        trainer.push_to_hub(commit_message="Done", blocking=False).result()
        assert set(hub.files("tester/t")) == CODE | REST and hub.repos["tester/t"]["commits"] == ["Done"]
        assert hub.files("tester/t")["model.safetensors"] == (run / "model.safetensors").read_bytes()
        again = CoTPDForTokenClassification.from_pretrained(run)
        assert again.classifier.bias.tolist() == [2.0] * 5

    def test_checkpoints_stay_here(self, hub, run):
        args = CoTPDTrainingArguments(
            str(run), hub_model_id="tester/t", report_to="none", use_cpu=True, push_to_hub=True, max_steps=2,
            save_strategy="steps", save_steps=1, disable_tqdm=True,
        )  # fmt: skip
        model = tiny_model(CoTPDForTokenClassification)
        rows = [{"input_ids": [2, 7, 3], "labels": [-100, 1, -100], "distillation_mask": [0, 1, 0]}] * 4
        trainer = CoTPDTrainer(
            model=model, args=args, data_collator=CoTPDCollator(0), train_dataset=Dataset.from_list(rows)
        )
        trainer.train()
        trainer.save_model()
        assert (run / "checkpoint-2").is_dir() and hub.files("tester/t") == {}
        assert json.loads((run / "config.json").read_text("utf-8"))["architectures"] == ["CoTPDForTokenClassification"]
