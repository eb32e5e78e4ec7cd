"""`python -m icnn_viz.cli` is `icnn-viz`, for launchers: accelerate launch -m icnn_viz.cli heatmap --data …"""

from __future__ import annotations

from icnn_viz.cli import main

if __name__ == "__main__":
    main()
