"""Publishing a trained model on the Hub: what goes, what stays here, and one commit that holds all of it."""

import json
import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id
from transformers.dynamic_module_utils import get_relative_import_files

from modeling_cotpd.encoder_cotpd import check_weights
from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import read_object
from modeling_cotpd.text_safety import without_secrets
from modeling_cotpd.training.model_card import model_card
from modeling_cotpd.training.results import ONNX_FOLDER, RESULTS_FILE
from modeling_cotpd.training.tasks import TASK_OF_MODEL

CONFIG_FILE, CARD_FILE = "config.json", "README.md"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-?????-of-?????.safetensors")
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model",
)  # fmt: skip
PUBLISHED_RESULTS = (
    "task", "encoder", "label_names", "reading", "dataset", "knowledge_columns", "knowledge_placement", "train_rows",
    "seed", "splits", "training", "log", "example", "settings", "versions", "python",
)  # fmt: skip
"""What of `results.json` is published; the rest describes the machine, such as the command as it was typed."""
LOCAL_SETTINGS = ("model_name_or_path", "dataset_dir", "unlabelled_dataset_dir", "cache_dir")
"""Settings that name places on this machine; encoder and data set stand in the results by their names."""
LARGE = 100_000
"""Bytes of a file that is uploaded by itself, before the commit: the client's threads do not end at Ctrl-C."""
NAMES = ("label_names", "example")
"""Results that hold names of labels, which may begin with a slash and are no paths."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s,;\"]+")
_PUBLIC_ADDRESS = re.compile(
    r"https://(?:[\w-]+\.)+(?!(?:local|localdomain|internal|intranet|private|lan|home|corp)\b)[a-z]{2,}(?:/[^@?#]*)?"
)
_PATH = re.compile(r"(?<![\w:/.~])(?:~|/[\w.@~+-]+|[A-Za-z]:[\\/])[\w.@~+\\ -]*?(?:[\\/][\w.@~+-]+)+")


def collect(folder: str | os.PathLike, name: str) -> dict[str, Path | bytes]:
    """Choose what is published: model, its code, tokenizer, card, and results without what describes this machine.

    An ONNX export in the folder `onnx` goes too. Optimizer states, checkpoints, `training_args.bin`, `run.json`,
    adapters, logs, and predictions (which hold the posts of the data set) stay here. The card is written anew for the
    repository's name, unless the one in the folder was edited by hand, which then goes as it is.

    Returns:
        Name in the repository to the file, or to the bytes of one made for it.

    Raises:
        SettingError: The name cannot be a repository's, there is no such folder, it holds no CoTPD model with its code
            and tokenizer, or a file that would go names a place on this machine.
        OSError: The weights are a pickle, cut or missing.
    """
    folder = Path(folder)
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise SettingError(f"This cannot be a repository's name ({error}).", fix="Write NAMESPACE/NAME.") from None
    if not folder.is_dir():
        raise SettingError("There is no such folder.", place=str(folder), fix="Name a run's output folder.")
    config = _config(folder)
    task = TASK_OF_MODEL[config["architectures"][0]]
    check_weights(folder)
    weights = [path for pattern in WEIGHTS for path in sorted(folder.glob(pattern))]
    tokenizer = [folder / each for each in TOKENIZER_FILES if (folder / each).is_file()]
    if not tokenizer:
        fix = "Save it there: tokenizer.save_pretrained(DIR)."
        raise SettingError("The folder holds no tokenizer.", place=str(folder), fix=fix)
    files: dict[str, Path | bytes] = {
        path.name: path for path in [folder / CONFIG_FILE, *weights, *tokenizer, *_code(folder, config)]
    }
    exported = sorted(path for path in (folder / ONNX_FOLDER).glob("*") if path.suffix in (".onnx", ".data", ".json"))
    files |= {f"{ONNX_FOLDER}/{path.name}": path for path in exported}
    results = _results(folder, task)
    published = published_results(results)
    if (folder / RESULTS_FILE).is_file():
        files[RESULTS_FILE] = (json.dumps(published, indent=2, ensure_ascii=False) + "\n").encode()
    files[CARD_FILE] = _card(folder, results, published, name)
    _refuse_local_places(folder, files)
    return files


def _config(folder: Path) -> dict:
    path = folder / CONFIG_FILE
    fix = "Name a folder that run_mner.py, run_mre.py or save_pretrained wrote."
    if not path.is_file():
        raise SettingError("The folder holds no model.", place=str(folder), fix=fix)
    config = read_object(path) or {}
    if config.get("architectures") not in [[name] for name in TASK_OF_MODEL]:
        raise SettingError("This is not a trained CoTPD model.", place=str(path), fix=fix)
    return config


def _code(folder: Path, config: dict) -> list[Path]:
    """The Python files that the configuration names, and those that they import from beside them."""
    named = [*(config.get("auto_map") or {}).values()]
    named += [pipeline["impl"] for pipeline in (config.get("custom_pipelines") or {}).values()]
    fix = "Save the model with its code: import modeling_cotpd, then model.save_pretrained(DIR)."
    if not named:
        raise SettingError("The configuration names no code.", place=str(folder / CONFIG_FILE), fix=fix)
    found: dict[str, Path] = {}
    for start in sorted({f"{each.partition('.')[0]}.py" for each in named}):
        try:
            paths = [folder / start, *map(Path, get_relative_import_files(folder / start))]
        except FileNotFoundError as error:
            missing = Path(error.filename).name
            raise SettingError(f"The code file {missing} is missing.", place=str(folder), fix=fix) from None
        found |= {path.name: path for path in paths}
    return [found[name] for name in sorted(found)]


def _results(folder: Path, task: str) -> dict:
    path = folder / RESULTS_FILE
    if not path.is_file():
        return {"task": task}
    results = read_object(path)
    if results is None or results.get("task") != task:
        raise SettingError(f"These are not results of {task}.", place=str(path), fix="Evaluate again, or remove it.")
    return results


def published_results(results: dict) -> dict:
    """Results without places on this machine: no command, no machine, no paths, no private addresses."""
    kept = {name: results[name] for name in PUBLISHED_RESULTS if name in results}
    if "settings" in kept:
        kept["settings"] = {key: value for key, value in kept["settings"].items() if key not in LOCAL_SETTINGS}
    return _without_places(without_secrets(kept))


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: each if key in NAMES else _without_places(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_places(each) for each in value]
    if not isinstance(value, str):
        return value
    value = _ADDRESS.sub(lambda match: match[0] if _PUBLIC_ADDRESS.fullmatch(match[0]) else "a private address", value)
    return _PATH.sub(lambda match: re.split(r"[\\/]", match[0])[-1], value)


def _card(folder: Path, results: dict, published: dict, name: str) -> bytes:
    path = folder / CARD_FILE
    if path.is_file():
        text = path.read_text("utf-8")
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        if title is None or text.strip() != model_card(results, title[1]).strip():
            return text.encode()
    return model_card(published, name).encode()


def _refuse_local_places(folder: Path, files: dict[str, Path | bytes]) -> None:
    """Refuse a link that leads out of the folder, and a file that tells where things lie on this machine.

    Code and vocabularies are not searched.
    """
    for name, content in files.items():
        if isinstance(content, Path) and not content.resolve().is_relative_to(folder.resolve()):
            message = f"{name} is a link to {content.resolve()}, outside of the folder."
            fix = "Put a copy of the file there, if it is to be published."
            raise SettingError(message, place=str(folder), fix=fix)
    places = {str(folder.resolve()), f"{Path.home()}{os.sep}"}
    exported = [name for name in files if name.startswith(f"{ONNX_FOLDER}/") and name.endswith("config.json")]
    for name in (CONFIG_FILE, "tokenizer_config.json", RESULTS_FILE, CARD_FILE, *exported):
        content = files.get(name, b"")
        text = content.decode() if isinstance(content, bytes) else content.read_text("utf-8")
        if found := sorted(place for place in places if place in text):
            message = f"The file names a place on this machine, {found[0]}."
            raise SettingError(message, place=f"{folder}, {name}", fix="Take it out of the file, then push again.")


def push(
    files: dict[str, Path | bytes],
    repo: str,
    *,
    message: str = "Model, tokenizer, code and card",
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
) -> CommitInfo:
    """Publish in one commit, so that a model is never there in part.

    Example:
        >>> push(collect("output/twitter2017", "me/cotpd-twitter2017"), "me/cotpd-twitter2017")  # doctest: +SKIP
    """
    if create_pr and revision not in (None, "main"):
        raise SettingError("A pull request is made against main.", place="--revision", fix="Leave --revision out.")
    token = token or get_token()
    if not token:
        fix = "Log in with: hf auth login (or set HF_TOKEN to a token)"
        raise SettingError("There is no access token for the Hub.", fix=fix)
    api = HfApi(token=token)
    try:
        name = api.create_repo(repo, private=private or None, exist_ok=True).repo_id
        if private and not api.repo_info(name).private:
            fix = "Name another, or change it in its settings."
            raise SettingError(f"{name} exists and is public.", place="--private", fix=fix)
        if revision is not None and not create_pr:
            api.create_branch(name, branch=revision, exist_ok=True)
        operations = [CommitOperationAdd(each, content) for each, content in files.items()]
        for each in operations:
            if each.upload_info.size > LARGE:
                api.preupload_lfs_files(name, [each], revision=revision, create_pr=create_pr)
        return api.create_commit(
            name,
            operations,
            commit_message=message,
            revision=revision,
            create_pr=create_pr,
        )
    except (HfHubHTTPError, RuntimeError) as error:  # the client wraps what happens while it uploads
        cause = error if isinstance(error, HfHubHTTPError) else error.__cause__
        if not isinstance(cause, HfHubHTTPError):
            raise
        raise _declined(cause, repo) from error
    except (HTTPError, OfflineModeIsEnabled) as error:
        message = f"The Hub cannot be reached: {type(error).__name__}: {error}"
        fix = "Run the same command again when the connection works; nothing half-done is visible."
        raise SettingError(message, place=api.endpoint, fix=fix) from error


def _declined(error: HfHubHTTPError, repo: str) -> SettingError:
    """The Hub's refusal in one sentence, with what to do."""
    status = error.response.status_code
    reason = (error.server_message or "").strip().rstrip(".")
    message, fix = {
        401: ("The Hub does not accept the access token", "Log in again with: hf auth login"),
        403: (
            "The access token may not write there",
            "Take a token with write access and a namespace that is yours, or open a pull request with --create-pr.",
        ),
        404: ("The Hub has no such repository or branch", "Check the name, and that the token may see it."),
        409: ("The repository was changed at the same time", "Run the same command again."),
        412: ("The repository was changed at the same time", "Run the same command again."),
        429: ("The Hub asks for fewer requests", "Wait some minutes, then run the same command again."),
    }.get(status, (f"The Hub answers {status}", "Run the same command again later."))
    return SettingError(f"{message} ({status}{f': {reason}' if reason else ''}).", place=repo, fix=fix)
