"""From a sweep (YAML) to runs, and from runs to tables and figures: `python -m experiments --help`."""
