"""Print the lower bounds of setup.cfg as pip constraints: what a user with the oldest supported libraries has."""

import configparser
import re
from pathlib import Path

settings = configparser.ConfigParser()
settings.read(Path(__file__).parents[1] / "setup.cfg")
for line in settings["options"]["install_requires"].split():
    match = re.fullmatch(r"([\w-]+)>=([\d.]+)(?:,<[\d.]+)?", line)
    if match is None:
        raise SystemExit(f"{line} has no lower bound.")
    print(f"{match[1]}=={match[2]}.*")
