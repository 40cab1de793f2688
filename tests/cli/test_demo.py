"""`cotpd demo` from the command line."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from support.inference_models import saved

from modeling_cotpd.cli.models import scores_of
from modeling_cotpd.demo import app as demo_app
from modeling_cotpd.errors import SettingError


@pytest.mark.slow
def test_it_serves_until_it_is_stopped(tmp_path: Path):
    pytest.importorskip("gradio")
    model = saved(tmp_path / "model")
    command = [sys.executable, "-m", "modeling_cotpd", "demo", str(model), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        line = process.stdout.readline()
        url = re.fullmatch(r"The demo is at (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", line).group(1)
        with urllib.request.urlopen(url) as page:
            assert b"CoTPD" in page.read() or page.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
    finally:
        process.kill()


def test_without_gradio_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SettingError, match=r"modeling_cotpd\[demo\]"):
        demo_app.import_gradio()
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_the_page_has_the_scores_of_the_model(tmp_path: Path):
    assert scores_of(str(tmp_path)) == "" and scores_of("me/model") == ""
    splits = {"test": {"prompt": {"f1": 0.74}, "knowledge": {"f1": 0.841}}}
    (tmp_path / "results.json").write_text(json.dumps({"splits": splits}), "utf-8")
    assert scores_of(str(tmp_path)) == " (test F1 74.0 from the text alone, 84.1 with knowledge)"
    (tmp_path / "results.json").write_text('{"splits": {"test": 3}}', "utf-8")
    assert scores_of(str(tmp_path)) == ""
