"""`python -m modeling_cotpd`: the `cotpd` command."""

import sys

from modeling_cotpd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
