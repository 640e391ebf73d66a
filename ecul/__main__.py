"""`python -m ecul`: the `ecul` command where its script is not on the path."""

import sys

from ecul.cli import main

if __name__ == "__main__":
    sys.exit(main())
