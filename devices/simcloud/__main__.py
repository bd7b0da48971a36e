"""`python -m devices.simcloud`: the simulated cloud without Django."""

import sys

from devices.simcloud.cli import main

if __name__ == "__main__":
    sys.exit(main())
