"""The pictures of a run."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import pad

from gan_cli.data import resize
from gan_cli.files import atomic
from gan_cli.metrics.metrics import NearestImages
from gan_cli.runs.figure import new_figure, save_figure
from gan_cli.shapes import Codes, Images, Labels, Scores, Stored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RealAndFakeLabels = tuple[Int[Tensor, " _real"], Int[Tensor, " _fake"]]
REAL, FAKE = "#1f6f8b", "#d1495b"
SHADES = ("#d1495b", "#edae49", "#8d6a9f", "#00798c")  # of the intervals in which a training was lost
NUM_IMAGES, NUM_POINTS = 64, 2000
MOST_WRITTEN = 20  # classes whose numbers are written into a confusion matrix
MOST_ROWS, NUM_COLUMNS = 16, 10  # classes, and images of each, in a picture of a training
FLAT = 20  # a loss so many times smaller than another would be a flat line beside it
LEAST_TILE, MOST_TILE = 64, 128  # pixels of an image beside its nearest ones
GAP = 90  # grey of the lines between the images of a grid
MOST_IN_GRID, MOST_GRID_PIXELS = 400, 2**26  # of images that were drawn


def are_points(image_shape: Sequence[int]) -> bool:
    """Whether images of this shape are drawn as points in the plane."""
    return tuple(image_shape) == (2, 1, 1)


def num_drawn(image_shape: Sequence[int]) -> int:
    """How many images a picture shows."""
    return NUM_POINTS if are_points(image_shape) else NUM_IMAGES


def save_real(path: Path, real: Stored) -> None:
    """A picture of real images, evenly spaced over all of them."""
    chosen = real[torch.linspace(0, len(real) - 1, min(num_drawn(real.shape[1:]), len(real))).long()].cpu()
    if are_points(real.shape[1:]):
        save_points(path, chosen)
    else:
        save_grid(path, chosen)


def num_in_grid(image_shape: Sequence[int]) -> int:
    """How many of the images that were drawn one grid shows: a square number."""
    _, height, width = image_shape
    return max(1, math.isqrt(min(MOST_IN_GRID, MOST_GRID_PIXELS // (height * width)))) ** 2


def save_fake(
    path: Path,
    fake: Stored,
    real: Stored | None,
    score: Callable[[Images], Scores] | None,
    columns: int | None = None,
    labels: RealAndFakeLabels | None = None,
) -> None:
    """A picture of generated images; points are drawn over the discriminator's score, with the real ones.

    `labels` are those of the real and of the generated points, which then have a colour for each class.
    """
    if are_points(fake.shape[1:]):
        assert real is not None
        save_points(path, real, fake, score, labels=labels)
    else:
        save_grid(path, fake, columns)


def write_points(path: Path, points: Stored) -> None:
    """Points as rows of one file."""
    with atomic(path) as partial:
        np.savetxt(partial, points.flatten(1).cpu().numpy(), delimiter=",", header="x,y", comments="")


def save_grid(path: Path, pixels: Stored, columns: int | None = None) -> None:
    """Images in a grid, nearly square if it is given no number of columns; small ones are enlarged without blur."""
    columns = columns or math.ceil(math.sqrt(len(pixels)))
    save_image(path, grid_of(pixels, columns), scale=max(1, 512 // (columns * (pixels.shape[-1] + 1))))


def grid_of(pixels: Stored, columns: int) -> torch.Tensor:
    """Images in a grid, in reading order: [channels, height, width], lines of grey between them."""
    rows = math.ceil(len(pixels) / columns)
    tiles = pad(pixels.cpu(), (0, 1, 0, 1), value=GAP)
    channels, height, width = tiles.shape[1:]
    grid = torch.full((rows * columns, channels, height, width), GAP, dtype=torch.uint8)
    grid[: len(tiles)] = tiles
    sheet = grid.reshape(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    return sheet.reshape(channels, rows * height, columns * width)[:, :-1, :-1]


def save_image(path: Path, pixels: torch.Tensor, scale: int = 1) -> None:
    """One image [1 or 3, height, width] of bytes, each pixel `scale` pixels wide."""
    with atomic(path) as partial:
        enlarged(pixels, scale).save(partial, format="PNG")


def enlarged(pixels: torch.Tensor, scale: int) -> Image.Image:
    """One image [1 or 3, height, width] of bytes, each pixel `scale` pixels wide."""
    array = pixels.cpu().numpy()
    image = Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def read_image(path: Path, image_shape: Sequence[int]) -> torch.Tensor:
    """One image of this shape that `save_image` wrote; raises OSError or ValueError for anything else."""
    channels, height, width = image_shape
    with Image.open(path, formats=["PNG"]) as image:
        if (image.size, image.mode) != ((width, height), "L" if channels == 1 else "RGB"):
            raise ValueError(f"it has {image.width} x {image.height} pixels of kind {image.mode}")
        return torch.from_numpy(np.array(image).reshape(height, width, channels)).permute(2, 0, 1)


def save_nearest(path: Path, nearest: NearestImages) -> None:
    """Generated images in a row, under each its nearest training images; below, the same of the closest ones."""
    bands = {
        "the first generated images": nearest.first,
        "those of at most 1,000 that are closest to a training image": nearest.closest,
    }
    size = min(MOST_TILE, max(nearest.first[0].shape[-2:]))
    scale = max(1, round(LEAST_TILE / size))
    sheets = []
    for title, (fake, real) in bands.items():
        tiles = [resize(row, size) for row in (fake, *real.transpose(0, 1))]
        sheets.append((title, [enlarged(grid_of(row, len(row)), scale) for row in tiles]))
    left, line, between, apart = 150, 40, 4, 14  # pixels
    band = sum(image.height + between for image in sheets[0][1]) + between
    sheet = Image.new("RGB", (left + sheets[0][1][0].width + apart, len(sheets) * (line + band + apart)), "white")
    write, top = ImageDraw.Draw(sheet), 0
    for title, rows in sheets:
        write.text((apart, top + line // 2), title, fill="black", anchor="lm", font=ImageFont.load_default(18))
        top += line
        for number, image in enumerate(rows):
            name = "generated" if number == 0 else "nearest in training" if number == 1 else ""
            colour = FAKE if number == 0 else REAL
            write.text(
                (apart, top + image.height // 2), name, fill=colour, anchor="lm", font=ImageFont.load_default(14)
            )
            sheet.paste(image, (left, top))
            top += image.height + (3 * between if number == 0 else between)
        top += apart - between
    with atomic(path) as partial:
        sheet.crop((0, 0, sheet.width, top)).save(partial, format="PNG")


def save_confusion(path: Path, counts: torch.Tensor) -> None:
    """How many images of each class were taken for each class, [true, predicted]; shades are shares of the class."""
    classes, total = len(counts), int(counts.sum())
    wrong = total - int(counts.trace())
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    figure = new_figure(6.0, 5.2)
    axes = figure.subplots()
    shades = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    if classes <= MOST_WRITTEN:
        axes.set(xticks=range(classes), yticks=range(classes))
        for true, predicted in counts.nonzero().tolist():
            colour = "white" if shares[true, predicted] > 0.5 else "black"
            text = str(int(counts[true, predicted]))
            size = 9 if classes <= 12 else 6
            axes.text(predicted, true, text, color=colour, ha="center", va="center", fontsize=size)
    figure.colorbar(shades, ax=axes, label="share of the true class")
    title = f"test error {100 * wrong / total:.2f} %: {wrong:,} of {total:,} images"
    axes.set(title=title, xlabel="predicted class", ylabel="true class")
    save_figure(path, figure)


def save_points(
    path: Path,
    real: Stored,
    fake: Stored | None = None,
    score: Callable[[Images], Scores] | None = None,
    lines: torch.Tensor | None = None,
    labels: RealAndFakeLabels | None = None,
) -> None:
    """Points [points, 2, 1, 1]: real ones, and if given, generated ones and the discriminator's score behind them.

    `lines`, [lines, points of each], holds the numbers of generated points that are joined. With `labels` of the real
    and of the generated points, each class has a colour: generated points belong on real ones of their colour.
    """
    figure = new_figure(6.4, 5.6)
    axes = figure.subplots()
    reach = 1.25 * real.abs().max().item()
    if score is not None:
        line = torch.linspace(-reach, reach, 150)
        plane = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, 2, 1, 1)
        heights = score(plane).reshape(150, 150).cpu().numpy()
        shades = axes.contourf(line.numpy(), line.numpy(), heights, levels=30, cmap="Greys_r", alpha=0.55)
        figure.colorbar(shades, ax=axes, label="discriminator score")
    of_real, of_fake = (REAL, FAKE) if labels is None else [class_colours(each) for each in labels]
    x, y = at_most_2000(real)
    axes.scatter(x, y, s=14 if labels is None else 60, c=of_real, alpha=0.35, linewidths=0, label="real")
    if fake is not None and lines is not None:
        axes.plot(*fake.flatten(1).cpu()[lines].permute(2, 1, 0).numpy(), c=FAKE, lw=0.9, alpha=0.8)
    if fake is not None:
        x, y = at_most_2000(fake)
        axes.scatter(x, y, s=4, c=of_fake, alpha=0.8, linewidths=0, label="generated")
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    figure.legend(loc="outside lower center", ncols=2, markerscale=2, frameon=False)
    save_figure(path, figure)


def save_side_by_side(path: Path, pictures: Mapping[str, Path]) -> None:
    """Pictures of one size side by side, each under its title."""
    images = [Image.open(picture, formats=["PNG"]).convert("RGB") for picture in pictures.values()]
    width, height = images[0].size
    margin, title_height = 16, 40
    sheet = Image.new("RGB", (len(images) * (width + margin) + margin, title_height + height + margin), "white")
    write = ImageDraw.Draw(sheet)
    for number, (title, image) in enumerate(zip(pictures, images, strict=True)):
        left = margin + number * (width + margin)
        sheet.paste(image, (left, title_height))
        center = (left + width // 2, title_height // 2)
        write.text(center, title, fill="black", anchor="mm", font=ImageFont.load_default(20))
    with atomic(path) as partial:
        sheet.save(partial, format="PNG")


def save_latents(path: Path, latents: Mapping[str, Codes]) -> None:
    """The density of two-dimensional latents [latents, 2], one panel each, on the same axes and logarithmic shades."""
    from matplotlib.colors import LogNorm

    reach = max(points.abs().quantile(0.999).item() for points in latents.values())
    figure = new_figure(4.6 * len(latents), 4.4)
    panels = figure.subplots(1, len(latents), squeeze=False, sharex=True, sharey=True)[0]
    num_bins = max(10, min(50, round(min(map(len, latents.values())) ** 0.5 / 2)))
    edges = torch.linspace(-reach, reach, num_bins + 1)
    densities = [torch.histogramdd(points, [edges, edges], density=True).hist for points in latents.values()]
    filled = torch.cat([density[density > 0] for density in densities])
    least = filled.min().item()
    norm = LogNorm(least / 4, max(filled.max().item(), 4 * least))  # a single point is brighter than none
    for axes, title, density in zip(panels, latents, densities, strict=True):
        axes.set_facecolor("black")
        shown = density.T.where(density.T > 0, torch.nan).numpy()
        shades = axes.pcolormesh(edges.numpy(), edges.numpy(), shown, norm=norm, cmap="magma")
        axes.set(title=title, aspect="equal", xlabel="first coordinate")
    panels[0].set_ylabel("second coordinate")
    figure.colorbar(shades, ax=list(panels), label="density")
    save_figure(path, figure)


def at_most_2000(points: Stored) -> torch.Tensor:
    """At most 2,000 of the points, evenly spaced: [2, points], on the CPU."""
    return points.flatten(1)[evenly(len(points))].T.cpu()


def evenly(count: int) -> torch.Tensor:
    """At most 2,000 row numbers, evenly spaced over `count` rows."""
    return torch.linspace(0, count - 1, min(NUM_POINTS, count)).long()


def class_colours(labels: Labels) -> Any:
    """The colours [points, 4] of the points that `at_most_2000` chooses: ten full ones, then ten pale ones."""
    from matplotlib import colormaps

    classes = labels.cpu()[evenly(len(labels))].numpy() % 20
    return colormaps["tab20"](2 * classes % 20 + classes // 10)


def save_curves(
    path: Path, records: Sequence[Mapping[str, Any]], floor: Mapping[str, float], images_per_step: int
) -> None:
    """Losses, mean scores and gradient norms against steps, and the leading metrics against images seen.

    Learning rates are drawn if one changes.
    """
    losses = [record for record in records if "losses" in record]
    shown = ["losses", *recorded(losses, "scores", "gradient_norms")]
    shown += ["rates"] if rates_change(losses) else []
    evaluations = [record for record in records if "metrics" in record]
    keys = [key for key in evaluations[0]["metrics"] if not key.endswith("_std")][:4] if evaluations else []
    rows = [shown, keys] if keys else [shown]
    figure = new_figure(max(11.0, 3.6 * len(shown)), 3.2 * len(rows))
    panels = {
        name: axes
        for names, part in zip(rows, figure.subfigures(len(rows), squeeze=False)[:, 0], strict=True)
        for name, axes in zip(names, part.subplots(1, len(names), squeeze=False)[0], strict=True)
    }
    plot_training(panels, losses, shown)
    for key in keys:
        scored = [record for record in evaluations if key in record["metrics"]]  # the others were not finite
        seen = [record["step"] * images_per_step for record in scored]
        label = "generated" if key in floor else None  # with nothing to tell it from, a line needs no name
        panels[key].plot(seen, [record["metrics"][key] for record in scored], "o-", ms=3, c=FAKE, label=label)
        if key in floor:
            panels[key].axhline(floor[key], c=REAL, lw=0.9, ls="--", label="real against real")
        panels[key].set(title=key, xlabel="images seen")
        panels[key].ticklabel_format(axis="x", style="sci", scilimits=(0, 4))
    for axes in panels.values():
        if axes.get_legend_handles_labels()[1]:
            legend_below(axes)
    save_figure(path, figure)


LEGEND_WIDTH, LEGEND_LINE, LEGEND_LETTER = 210, 30, 4  # points: of a panel, of an entry's line, of a letter


def legend_below(axes: "Axes") -> None:
    """A legend below the axes, where it covers no data; a name that comes back is listed once."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    width = LEGEND_LINE + LEGEND_LETTER * max(map(len, once))
    axes.legend(
        [*once.values()],
        [*once],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.22),
        ncols=max(1, min(len(once), int(LEGEND_WIDTH // width))),
        frameon=False,
        fontsize=7,
    )


def show_small_terms(axes: "Axes") -> None:
    """Makes the axis logarithmic beyond the smallest line's values, if it would be flat beside the largest."""
    sizes = [size for line in axes.lines if (size := float(np.abs(np.asarray(line.get_ydata())).max())) > 0]
    if sizes and np.isfinite(sizes).all() and max(sizes) > FLAT * min(sizes):
        linear = 10.0 ** math.floor(math.log10(min(sizes)))  # a power of ten: ticks do not meet at zero
        axes.set_yscale("symlog", linthresh=linear)


def recorded(records: Sequence[Mapping[str, Any]], *names: str) -> list[str]:
    """Those of the names under which there are numbers: without a discriminator there are no scores."""
    return [name for name in names if any(record.get(name) for record in records)]


def rates_change(records: Sequence[Mapping[str, Any]]) -> bool:
    rates = [record["rates"] for record in records if "rates" in record]
    return any(rate != rates[0] for rate in rates)


TITLES = {
    "losses": "losses",
    "scores": "mean discriminator score",
    "gradient_norms": "gradient norm",
    "rates": "learning rate",
}


def plot_training(panels: Mapping[str, "Axes"], records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Numbers of training against steps, in the panels of these names."""
    for panel in names:
        rows = [(record["step"], flat(record.get(panel, {}))) for record in records]
        for name in dict.fromkeys(name for _, row in rows for name in row):
            present = [(step, row[name]) for step, row in rows if name in row]  # a lazy penalty is not in every row
            panels[panel].plot(*zip(*present, strict=True), lw=0.9, label=name)
        panels[panel].set(title=TITLES[panel], xlabel="step")
    show_small_terms(panels["losses"])
    if "gradient_norms" in names:
        panels["gradient_norms"].set_yscale("log")


def save_diagnosis(
    path: Path,
    records: Sequence[Mapping[str, Any]],
    lost: Sequence[tuple[str, int, int]],
    title: str,
    fake: Stored | None,
    real: Stored,
) -> None:
    """Where a training was lost: losses, scores and the spread of images, the lost steps shaded; images of its end.

    `lost` has a name, a first and a last step for each interval; without one, the last 1,000 steps are shown. A run
    without a generator, whose `fake` is None, has losses and scores only; one without a discriminator has no scores.
    """
    from matplotlib.ticker import SymmetricalLogLocator

    readings = [record for record in records if "losses" in record]
    end = readings[-1]["step"] if readings else 0
    first = min((start for _, start, _ in lost), default=end - 500)
    shown = [record for record in readings if record["step"] >= first - max(500, end - first)]
    names = ["losses", *recorded(shown, "scores"), *([] if fake is None else ["spread"])]
    figure = new_figure(12.0, 2.8 * len(names))
    mosaic = [[name] if fake is None else [name, "images"] for name in names]
    panels = figure.subplot_mosaic(mosaic, width_ratios=None if fake is None else [6, 5])  # type: ignore[arg-type]
    plot_training(panels, shown, ["losses", *recorded(shown, "scores")])
    if fake is not None:
        plot_spread(panels["spread"], shown)
        draw_images(panels["images"], fake, real)
    colours = dict(zip(dict.fromkeys(name for name, _, _ in lost), SHADES, strict=False))
    for axes in (panels[name] for name in names):
        if max(map(abs, axes.dataLim.intervaly)) > 100:
            axes.set_yscale("symlog")
            ticks = SymmetricalLogLocator(base=10, linthresh=2)
            ticks.set_params(numticks=7)
            axes.yaxis.set_major_locator(ticks)
        for name, start, stop in lost:
            axes.axvspan(start, stop, color=colours[name], alpha=0.2, lw=0, label=name)
        if axes.get_legend_handles_labels()[1]:
            legend_below(axes)
    figure.suptitle(title, wrap=True)
    save_figure(path, figure)


def plot_spread(axes: "Axes", records: Sequence[Mapping[str, Any]]) -> None:
    spread = [(record["step"], record["spread"]) for record in records if "spread" in record]
    axes.plot([step for step, _ in spread], [value for _, value in spread], lw=0.9, c=FAKE)
    axes.set(title="spread of generated images; of real ones: 1", xlabel="step")


def draw_images(axes: "Axes", fake: Stored, real: Stored) -> None:
    """Generated images as a grid; generated points over real ones."""
    axes.set_title("generated at the end")
    if not are_points(fake.shape[1:]):
        axes.imshow(
            grid_of(fake, math.ceil(math.sqrt(len(fake)))).permute(1, 2, 0).squeeze(2).numpy(),
            cmap="gray",
            vmin=0,
            vmax=255,
        )
        axes.set_axis_off()
        return
    for label, points, colour in (("real", real, REAL), ("generated", fake, FAKE)):
        x, y = at_most_2000(points).numpy()
        axes.scatter(x, y, s=14, c=colour, alpha=0.6, linewidths=0, label=label)
    axes.set_aspect("equal")
    legend_below(axes)


def save_attack_curve(path: Path, shares: Mapping[float, float], xlabel: str, title: str) -> None:
    """A share of images against the epsilon of an attack."""
    figure = new_figure(5.6, 4.0)
    axes = figure.subplots()
    axes.plot(list(shares), list(shares.values()), "o-", c=FAKE)
    axes.set(xlabel=xlabel, title=title, ylim=(-0.03, 1.03))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.grid(alpha=0.3)
    save_figure(path, figure)


def save_attacked(
    path: Path,
    images: tuple[Images, Images],
    captions: tuple[Sequence[str], Sequence[str]],
    wrong: tuple[Sequence[bool], Sequence[bool]],
    title: str,
) -> None:
    """Images in [-1, 1] and attacked ones in two rows, what was added to them amplified between, each with its answer.

    `wrong` says which answers are as the attack wants them; they have another colour.
    """
    before, after = images
    change = after - before
    factor = 1 / max(change.abs().max().item(), 1e-6)  # the largest one becomes black or white
    figure = new_figure(1.35 * len(before) + 0.6, 5.9)
    panels = figure.subplots(3, len(before), squeeze=False)
    for row, (name, pixels) in enumerate(
        {"before": before, f"change x {factor:.3g}": factor * change, "after": after}.items()
    ):
        for axes, image in zip(panels[row], pixels, strict=True):
            axes.imshow(
                image.permute(1, 2, 0).squeeze(2).add(1).div(2).clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1
            )
            axes.set(xticks=[], yticks=[])
        panels[row, 0].set_ylabel(name, fontsize=12)
    for row, words, as_wanted in ((0, captions[0], wrong[0]), (2, captions[1], wrong[1])):
        for axes, word, turned in zip(panels[row], words, as_wanted, strict=True):
            axes.set_title(word, fontsize=13, c=FAKE if turned else REAL)
    figure.suptitle(title, wrap=True)
    save_figure(path, figure)


def flat(values: Mapping[str, Any]) -> dict[str, float]:
    """{"generator": {"adversarial": 1}} as {"generator adversarial": 1}; single numbers keep their names."""
    return {
        f"{outer} {inner}".strip(): number
        for outer, terms in values.items()
        for inner, number in (terms.items() if isinstance(terms, Mapping) else [("", terms)])
    }
