"""Learning-rate search on the validation split, through `Trainer.hyperparameter_search` with Optuna.

Runs in a process of its own: `python -m modeling_cotpd.experiments.search RECIPE TASK TRIALS LOW HIGH SEED FOLDER`.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.experiments.identity import slug
from modeling_cotpd.experiments.launch import LOG_FILE, call, last_lines, locked, write_recipe
from modeling_cotpd.experiments.sweep import Search
from modeling_cotpd.training.results import write_json

if TYPE_CHECKING:
    from modeling_cotpd.experiments.plan import Plan, Run

BEST_FILE, STUDY_FILE = "best.json", "study.db"


def best_learning_rates(
    plan: "Plan", run: "Run", settings: dict[str, Any], folders: Mapping[str, Path], root: Path
) -> dict[str, float]:
    """The learning rates for a run: found once for all its seeds, stored, and used again by every later sweep.

    Args:
        plan (`Plan`): The plan that the run belongs to.
        run (`Run`): The run.
        settings (`dict`): Its recipe, without the search's result.
        folders (`Mapping[str, Path]`): Prepared folders.
        root (`Path`): Where searches go, below `search`.

    Returns:
        `dict[str, float]`: `learning_rate`, and `new_parameters_learning_rate` in the recipe's proportion to it.

    Raises:
        DataError: The search failed; the message holds the end of its log.
    """
    folder = root / "search" / f"{slug(run.data, run.encoder, run.row)}-{plan.key(run, folders, seeded=False)[:12]}"
    best = folder / BEST_FILE
    if not best.is_file():
        with locked(folder) as free:
            if not free:
                raise DataError("Another process searches this learning rate.", place=str(folder))
            search = run.search
            recipe = {**settings, "output_dir": str(folder / "output"), "seed": search.seed}
            recipe |= {"save_strategy": "no", "load_best_model_at_end": False, "do_predict": False}
            command = [sys.executable, "-m", "modeling_cotpd.experiments.search"]
            command += [str(write_recipe(folder, recipe)), run.task, str(search.trials), str(search.low)]
            print(f"    searches the learning rate in {search.trials} trials; log {folder / LOG_FILE}", flush=True)
            code, _ = call([*command, str(search.high), str(search.seed), str(folder)], folder)
            if code or not best.is_file():
                raise DataError(f"The search failed:\n{last_lines(folder)}", place=str(folder / LOG_FILE))
    return json.loads(best.read_text("utf-8"))["settings"]


def search_learning_rate(recipe: Path, task: str, search: Search, folder: Path) -> dict[str, Any]:
    """Search, resuming the trials that `folder` holds, and write `best.json`.

    The objective of a trial is the best value over its epochs of the recipe's `metric_for_best_model`, because the run
    keeps its best epoch, too.

    Args:
        recipe (`Path`): The recipe of the run; prompt and head keep their learning rate's proportion to the encoder's.
        task (`str`): `"mner"` or `"mre"`.
        search (`Search`): How many trials, and the range.
        folder (`Path`): Where the study and its result go.

    Returns:
        What `best.json` holds: the chosen settings, the objective, and every trial.

    Raises:
        SettingError: Optuna is not installed, or the recipe does not evaluate during training.
    """
    try:
        import optuna
    except ImportError as error:
        raise SettingError("A search needs Optuna.", fix="pip install 'modeling_cotpd[experiments]'") from error
    trainer, rate, new_rate = _trainer(recipe, task)
    metric = trainer.args.metric_for_best_model
    if metric is None or trainer.args.eval_strategy == "no":
        raise SettingError("A search needs eval_strategy and metric_for_best_model.", place=str(recipe))
    metric = metric if metric.startswith("eval_") else f"eval_{metric}"
    best_of_trial = {"value": 0.0}

    def rates(value: float) -> dict[str, float]:
        others = {"new_parameters_learning_rate": value * new_rate / rate} if new_rate else {}
        return {"learning_rate": value, **others}

    def space(trial: Any) -> dict[str, float]:
        best_of_trial["value"] = 0.0
        return rates(trial.suggest_float("learning_rate", search.low, search.high, log=True))

    def objective(metrics: dict[str, float]) -> float:
        best_of_trial["value"] = max(best_of_trial["value"], metrics[metric])
        return best_of_trial["value"]

    storage = f"sqlite:///{folder / STUDY_FILE}"
    study = optuna.create_study(storage=storage, study_name="search", direction="maximize", load_if_exists=True)
    complete = optuna.trial.TrialState.COMPLETE
    done = len(study.get_trials(states=(complete,)))
    left = search.trials - done
    # a resumed search must not draw the points of its first trials again
    sampler = optuna.samplers.TPESampler(seed=search.seed + done)
    if left > 0:
        trainer.hyperparameter_search(
            hp_space=space,
            compute_objective=objective,
            n_trials=left,
            direction="maximize",
            backend="optuna",
            storage=storage,
            study_name="search",
            sampler=sampler,
            pruner=optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
    finished = study.get_trials(states=(complete,))
    trials = [{"learning_rate": trial.params["learning_rate"], metric: trial.value} for trial in finished]
    chosen = rates(study.best_trial.params["learning_rate"])
    result = {"settings": chosen, "objective": study.best_value, "metric": metric, **vars(search), "tried": trials}
    write_json(folder / BEST_FILE, result)
    return result


def _trainer(recipe: Path, task: str) -> tuple[Any, float, float | None]:
    """A Trainer that starts every trial from the same pretrained encoder, and the recipe's two learning rates."""
    from datasets import DatasetDict
    from transformers import set_seed

    from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
    from modeling_cotpd.training.arguments import DataArguments, ModelArguments, parse_arguments
    from modeling_cotpd.training.run import load_model, make_features, make_trainer, with_lora
    from modeling_cotpd.training.splits import load_splits
    from modeling_cotpd.training.training_args import CoTPDTrainingArguments

    kinds = (ModelArguments, DataArguments, CoTPDTrainingArguments)
    model_args, data_args, args = parse_arguments(kinds, [str(recipe)])
    splits, info = load_splits(data_args, task)
    model_class = CoTPDForTokenClassification if task == "mner" else CoTPDForRelationExtraction

    def fresh_model(trial: Any = None) -> Any:
        set_seed(args.seed)
        return with_lora(load_model(task, model_class, model_args, info)[0], task, model_args)

    model, tokenizer = load_model(task, model_class, model_args, info)
    splits = DatasetDict({name: splits[name] for name in ("train", "validation")})
    _, features = make_features(splits, model, tokenizer, model_args, data_args, args)
    trainer = make_trainer(splits, features, info, tokenizer, args, model_init=fresh_model)
    return trainer, args.learning_rate, args.new_parameters_learning_rate


if __name__ == "__main__":
    recipe_path, task_name, trials, low, high, seed, target = sys.argv[1:]
    search_learning_rate(
        Path(recipe_path), task_name, Search(int(trials), float(low), float(high), int(seed)), Path(target)
    )
