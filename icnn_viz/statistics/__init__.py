"""Position clouds in, numbers out: numpy, scipy, pandas. Definitions and rules: docs/statistics.md."""
