"""``python -m appliance``: the same entry point as the ``wlk-appliance`` console script."""

import sys

from appliance.cli import main

sys.exit(main())
