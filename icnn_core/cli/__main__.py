"""`python -m icnn_core.cli` is `icnn`, for launchers: accelerate launch -m icnn_core.cli train …"""

from __future__ import annotations

from icnn_core.cli import main

if __name__ == "__main__":
    main()
