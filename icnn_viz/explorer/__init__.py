"""`icnn-viz explore`: heatmaps, kernels and trajectories to click through, in a browser on this machine.

`session` computes and knows no layout; `pages` lay out and know no network; `server` joins them and guards the door.
"""
