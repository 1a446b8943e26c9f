"""The model card of an exported generator, in the form of the Hugging Face Hub, from its config.json."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from gan_cli.text import markdown_cell, printable

PROGRAM, TENSORS = "generator.pt2", "model.safetensors"
CONFIG, CARD, SAMPLES = "config.json", "README.md", "samples.png"
TASK = "unconditional-image-generation"  # as the Hub calls it


def card(name: str, config: Mapping[str, Any], count: int, *, runs_alone: bool) -> str:
    """README.md; its lines draw `count` images, if the generator `runs_alone`, as a program of torch."""
    names = (config["generator"], config["config"]["objective"]["_target_"])
    generator, objective = (printable(name).removeprefix("gan_cli.") for name in names)
    data = printable(config["protocol"].get("dataset") or config["config"]["dataset"]["_target_"].rpartition(".")[2])
    shape = " x ".join(map(str, config["images"]["shape"]))
    parts = [
        front_matter(name, data, config["scores"]),
        f"# {markdown_cell(name)}",
        f"The generator `{generator}` of a GAN, trained with `{objective}` on {markdown_cell(data)} for "
        f"{config['step']:,} steps. Weights: {config['weights']}. Images are {shape}, channels first.",
        f"![images that the lines below make]({SAMPLES})",
        "## Sampling",
        *(sampling(config, count) if runs_alone else loading(generator)),
        "## Scores",
        *scores(config),
        "## Training",
        "<details><summary>The config of the run, without the places of files</summary>",
        block("json", json.dumps(config["config"], indent=2)),
        "</details>",
        "## Files",
        files(runs_alone),
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(name: str, data: str, scored: Mapping[str, float]) -> str:
    """The card's metadata."""
    metrics = [{"type": metric, "value": score} for metric, score in scored.items()]
    result = {"task": {"type": TASK}, "dataset": {"name": data, "type": data}, "metrics": metrics}
    index = {"model-index": [{"name": name, "results": [result]}]} if metrics else {}
    content = {"library_name": "pytorch", "pipeline_tag": TASK, "tags": ["gan", "gan_cli"]} | index
    return f"---\n{yaml.safe_dump(content, sort_keys=False)}---"


def sampling(config: Mapping[str, Any], count: int) -> list[str]:
    """Lines that draw with torch and safetensors alone."""
    latents, labels = config["latents"], config["labels"]
    version = config["made_by"]["torch"]
    is_image = config["images"]["values"] != "coordinates"
    lines = [
        "import torch",
        "from safetensors.torch import load_file",
        "",
        f'generator = torch.export.load("{PROGRAM}").module()',
        f'generator.load_state_dict(load_file("{TENSORS}"))',
        f"count = {count}",
        "torch.manual_seed(0)",
        f"codes = {latents['draw'] or '...  # as below'}",
        *([f"labels = torch.arange(count) % {len(labels['class_counts'])}"] if labels else []),
        "with torch.no_grad():",
        f"    images = generator(codes{', labels' if labels else ''})",
        "pixels = images.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)"
        if is_image
        else "points = images.flatten(1)",
    ]
    said = [
        f"It takes torch and safetensors, and nothing else. `{PROGRAM}` was saved by torch {version}, and others may "
        "refuse it. It runs on a CPU, on any number of codes at once.",
        block("python", "\n".join(lines)),
    ]
    if latents["draw"] is None:
        law = printable(latents["law"])
        said.append(f"`codes`, {[count, latents['width']]}, are draws of `{law}`, whose law only that class says.")
    if latents["scored_after"] is not None:
        said.append(
            f"These are images of the prior. {printable(latents['scored_after'])}, which refines latents with the "
            "discriminator, is not exported: the scores below are of its images."
        )
    return said


def loading(generator: str) -> list[str]:
    lines = ["from safetensors.torch import load_file", "", f'generator.eval().load_state_dict(load_file("{TENSORS}"))']
    return [
        f"torch cannot export this generator as a program. Its tensors are the state of `{generator}`, made with the "
        f"settings under `model.generator` in `{CONFIG}`:",
        block("python", "\n".join(lines)),
    ]


def scores(config: Mapping[str, Any]) -> list[str]:
    """The scores beside those of real images, and the protocol."""
    if not config["scores"]:
        return ["These weights have not been scored."]
    floor = config["real_against_real"]
    rows = [
        f"| {markdown_cell(metric)} | {score:.4g} | {f'{floor[metric]:.4g}' if metric in floor else '-'} |"
        for metric, score in config["scores"].items()
    ]
    return [
        "As the run has recorded them at this step; beside them one half of the real images against the other.",
        "\n".join(["| metric | score | real against real |", "| --- | ---: | ---: |", *rows]),
        "The protocol; other scores compare only if theirs is the same:",
        block("json", json.dumps(config["protocol"], indent=2)),
    ]


def files(runs_alone: bool) -> str:
    held = {
        TENSORS: "the weights",
        **({PROGRAM: "the generator as a program of torch.export, with the same weights"} if runs_alone else {}),
        CONFIG: "what the generator is given, and how it was trained and scored",
        SAMPLES: "images of the prior, of seed 0",
    }
    return "\n".join(
        ["| file | what it holds |", "| --- | --- |", *(f"| `{name}` | {what} |" for name, what in held.items())]
    )


def block(language: str, text: str) -> str:
    """As code; no line of JSON ends it."""
    return f"```{language}\n{text}\n```"
