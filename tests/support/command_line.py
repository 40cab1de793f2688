"""The `cotpd` command inside the process of a test."""

from typing import Any

from typer.testing import CliRunner, Result

from modeling_cotpd.cli.main import app


def call(*arguments: object, **settings: Any) -> Result:
    """Run a command; its errors are raised. Settings such as `input` go to the runner."""
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False, **settings)
