"""One metric against another, a point for each run: python -m mine.scatter <sweep's folder> <metric> <metric>."""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

sweep, x, y = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
figure, axes = plt.subplots(layout="constrained")
for summary in sorted(sweep.glob("*/summary.json")):
    scores = json.loads(summary.read_text(encoding="utf-8"))["metrics"]["last"]
    axes.scatter(scores[x], scores[y], label=summary.parent.name)
axes.set(xlabel=x, ylabel=y)
axes.legend()
figure.savefig(sweep / "scatter.png")
