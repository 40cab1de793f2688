"""Fictional posts, plans and answers for the tests of augmentation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "knowledge"))
