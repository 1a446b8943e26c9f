from matplotlib.figure import Figure

from gan_cli.leaderboard.boards import Board

X, Y = "recall_digits_v2", "precision_digits_v2"


def variety_and_quality(board: Board) -> Figure:
    """Precision against recall (Kynkäänniemi et al. 2019, arXiv:1904.06991): a point for each run."""
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    for row in board.rows:
        scores = [run.scores for run in row.completed]
        axes.scatter([one[X] for one in scores], [one[Y] for one in scores], label=row.method)
    axes.set(xlabel=X, ylabel=Y)
    figure.legend(loc="outside right upper")
    return figure
