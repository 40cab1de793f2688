"""The way into the `cotpd` command.

`import modeling_cotpd` registers the models with transformers, for which torch and transformers are loaded. A command
that only prints its help has no use for that. Started from here, outside the package, `modeling_cotpd` registers them
when a model is first asked for. `python -m cotpd_command` works as well as `cotpd`.
"""

import sys

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main() -> None:
    """Run the command line; Ctrl-C ends it with one line and code 130, at any time."""
    try:
        from modeling_cotpd.cli.main import main as run

        code = run()
    except KeyboardInterrupt:
        code = STOPPED
    if code == STOPPED:
        print("cotpd: Stopped. Finished work is kept; the same command goes on from there.", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    # `python -m` runs this file under another name than the one that the package looks for
    sys.modules["cotpd_command"] = sys.modules["__main__"]
    main()
