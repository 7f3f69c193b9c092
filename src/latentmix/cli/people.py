"""Commands that use a trained run or codes: mix, export, explore, import, score; augment; and parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from latentmix.cli.app import (
    Allow,
    Checkpoint,
    Count,
    DataPath,
    Device,
    Place,
    Port,
    Seed,
    Whole,
    app,
    device_of,
    note,
)


@app.command
def mix(
    run: Place,
    *images: Place,
    steps: Whole = 9,
    out: Place | None = None,
    layout: Literal["strip", "triangle", "grid", "gif"] | None = None,
    path: Literal["lerp", "slerp", "crossover", "learned"] = "lerp",
    checkpoint: Checkpoint = None,
    as_is: Annotated[bool, Parameter(negative=())] = False,
    refine: Whole = 0,
    data: DataPath = None,
    device: Device = "auto",
    allow: Allow = (),
) -> None:
    """Mix your own images with a trained run, and record in OUT.json how each mix was made.

    Parameters
    ----------
    run
        The run's folder; or `digits`, a model that comes with latentmix.
    images
        Two or more image files, of any size and mode.
    steps
        Number of images along each path, including both ends.
    out
        File for the picture, new or an earlier mix; its suffix determines the format. By default mix.png, or
        mix-2.png and so on where that exists.
    layout
        By default a strip for two images, a triangle for three, a chain of strips for more.
    path
        Straight line, great circle, crossover of feature maps, or the mixing function that amr_learned and
        amr_pretrained train.
    as_is
        Leave drawings unchanged; by default they are inverted, cut out and centred if the training images
        are drawings in another style.
    refine
        Number of steps by which the model is first fitted to the images, so that it reproduces images of
        another kind.
    """
    from latentmix import runs
    from latentmix.apps import mix_images
    from latentmix.atomic import free_name
    from latentmix.config import catalogue

    catalogue.trust(allow)
    opened = runs.open_run(run, device_of(device), checkpoint, note)
    out = out or free_name(Path("mix.png"), mix_images.RECEIPT)
    known = mix_images.known_of(opened, data)
    receipt = mix_images.resynthesise(
        opened,
        images,
        steps=steps,
        out=out,
        layout=layout,
        path=path,
        known=known,
        as_is=as_is,
        refined=refine,
    )
    if known is None:
        note(
            f"the data of {run} are not at hand, and pictures were neither adapted nor judged; "
            f"--data PATH says where the data are"
        )
    for line in mix_images.remarks(receipt):
        note(line)
    print(f"{out}\n{out}.json")


@app.command
def export(
    run: Place,
    *,
    to: Literal["html", "onnx", "pt2", "hub"] = "html",
    out: Place | None = None,
    checkpoint: Checkpoint = None,
    data: DataPath = None,
    allow: Allow = (),
) -> None:
    """Export a trained run as a web page that mixes, or as ONNX, a torch.export program, or a hub folder.

    Parameters
    ----------
    run
        The run's folder; or `digits`, a model that comes with latentmix.
    to
        html: one file that opens in a browser and needs no network. onnx, pt2: a folder with the encoder and
        the decoder. hub: a folder to upload, with a model card; it can also be opened as a run.
    out
        New file or folder; by default named after the run, with a number where that exists.
    """
    from latentmix import runs
    from latentmix.apps.export import export as write
    from latentmix.atomic import free_name
    from latentmix.config import catalogue
    from latentmix.scoring import data_of

    catalogue.trust(allow)
    opened = runs.open_run(run, checkpoint=checkpoint, warn=note)
    name = run.resolve().name
    out = out or free_name(Path(f"{name}.html" if to == "html" else f"{name}-{to}"))
    print(write(opened, to, out, lambda: data_of(opened, path=data)))


@app.command
def explore(
    run: Place,
    *,
    port: Port = 0,
    data: DataPath = None,
    device: Device = "auto",
    allow: Allow = (),
) -> None:
    """Mix live in the browser; the page is served to this computer only, until interrupted.

    Parameters
    ----------
    run
        The run's folder, whose model may be too large for an exported page; or `digits`, a model that comes
        with latentmix.
    port
        Port on 127.0.0.1; 0 for any free port.
    """
    from latentmix import runs
    from latentmix.apps import explore as live
    from latentmix.config import catalogue
    from latentmix.scoring import data_of

    catalogue.trust(allow)
    opened = runs.open_run(run, device_of(device), warn=note)
    opened.autoencoder("mixing")  # before its data are read
    shown = data_of(opened, path=data)
    live.explore(opened, shown, port, say=lambda url: print(f"{url}\nCtrl+C stops it", flush=True))


@app.command(name="import")
def import_(
    source: str,
    *,
    name: Annotated[Place, Parameter(name="--as")],
    pixels: Annotated[str | None, Parameter(name="--range")] = None,
    size: Count | None = None,
    channels: Literal[1, 3] = 3,
    picture: Place | None = None,
    data: str | None = None,
    allow: Annotated[tuple[str, ...], Parameter(negative=())] = (),
) -> None:
    """Import an autoencoder that was trained elsewhere; it becomes a run that mixes and can be scored.

    Parameters
    ----------
    source
        A folder of diffusers' AutoencoderKL or its name on the hub, OWNER/NAME; a folder of pythae; a folder
        with encode.onnx and decode.onnx, or A.onnx,B.onnx; or module:encode,decode. Pickles are refused.
    name
        Folder of the run to write.
    pixels
        Values of black and white, such as 0,1 or -1,1, for ONNX files and functions.
    size
        Side of the images in pixels, if the model does not say.
    channels
        Channels of the images of functions.
    picture
        A picture for a decoder that takes one beside the code.
    data
        Images that go with the model: a folder or the name of a data set; needed to score and explore.
    allow
        A Python file with the functions, such as ./my_file.py; it will be executed.
    """
    from latentmix.apps.import_model import import_model
    from latentmix.config import catalogue

    catalogue.trust((*allow, source))
    run = import_model(
        source,
        name,
        pixels=_pixels(pixels),
        size=size,
        channels=channels,
        picture=picture,
        data=data,
    )
    codes = "x".join(map(str, run.method.code_shape))
    print(f"run     {name}\nimages  {'x'.join(map(str, run.shape))}, codes {codes}")
    print(f"next    latentmix mix {name} ONE.png TWO.png")


def _pixels(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"--range {text}: two numbers are expected, such as 0,1") from None
    return low, high


@app.command
def score(
    codes: Place,
    *metrics: str,
    seed: Seed = 0,
    out: Place | None = None,
) -> None:
    """Score codes of any model: linear probe, neighbours, clusters, effective rank, disentanglement, ...

    A metric that cannot be computed from these codes says why and does not stop the others: the command fails
    only if no metric can be computed.

    Parameters
    ----------
    codes
        An .npz file with an array codes, shape (N, D), and labels (N,), factors (N, F), or both; pairs (N,)
        numbers the image that each code is a view of, for LiDAR.
    metrics
        Names and options, such as knn.k=5 disentanglement.fast=true. By default all that apply.
    seed
        Seed of the split into training, validation and test codes, and of metrics that sample.
    out
        New file to write as well: .json with all protocols, .csv or .tex.
    """
    import json

    from latentmix import runs
    from latentmix.apps import score as scoring
    from latentmix.atomic import require_new
    from latentmix.config import catalogue
    from latentmix.training import progress

    if out is not None and out.suffix not in (".json", ".csv", ".tex"):
        raise ValueError(f"{out}: scores are written as .json, .csv or .tex")
    if out is not None:
        require_new(out)
    catalogue.trust(metrics)
    arrays = scoring.read(codes)
    with progress.waiting() as say:
        scores = scoring.score(**arrays, metrics=metrics, seed=seed, say=say, warn=note)
    print(scores.described())
    if len(arrays) == 1:
        note("only scores that need no labels: the file has no labels and no factors")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    if out is not None and out.suffix == ".json":
        runs.write_atomically(out, json.dumps(scores, indent=2) + "\n")
    elif out is not None:
        (scores.to_csv if out.suffix == ".csv" else scores.to_latex)(out)


@app.command
def augment(
    data: str,
    *settings: str,
    out: Place,
    seeds: Whole = 5,
    steps: Count = 600,
    per_class: Count = 200,
) -> None:
    """Make new images of rare classes by mixing, and test whether a classifier does better with them.

    A mixing model is trained on the training images, for every seed. OUT gets the images, receipts, and
    verdict.html with the verdict: helps, noise or hurts, beside balanced sampling, affine moves and blends.

    Parameters
    ----------
    data
        A path or the name of a data set, as in data=; with labels.
    settings
        Settings of the data, such as image_size=32 train_size=1000 hold_out.scale=[5], of the mixing model:
        method=amr method.network.width=16 epochs=10, and of the mixes, if the model is not to mix as it was
        trained to: mixer=bernoulli mixer.p=unit.
    out
        Folder to write; it must be empty or absent.
    seeds
        Paired repetitions, 5 or more.
    steps
        Training steps of each classifier.
    per_class
        New images of each class.
    """
    from latentmix import config
    from latentmix.apps.augment import augment as work
    from latentmix.config import catalogue
    from latentmix.data import load

    catalogue.trust([f"data={data}", *settings])
    given = config.read([f"data={data}", *settings], {"out": str(out)})
    mixer = config.make("mixer", given.pop("mixer")) if "mixer" in given else None
    run = config.resolve(given)
    choice = {
        name: getattr(run, name) for name in ("image_size", "classes", "train_size", "hold_out", "seed")
    }
    loaded = load(config.build("data", run.data), labelled=run.labelled, **choice)
    length = {"steps": run.steps} if run.steps else {"epochs": run.epochs}
    model = {**length, **{n: getattr(run, n) for n in ("method", "batch_size", "lr", "schedule", "device")}}
    outcome = work.augment(
        loaded,
        out,
        seeds=seeds,
        steps=steps,
        model=model,
        per_class=per_class,
        mixer=mixer,
        say=note,
    )
    print(f"{outcome.text}\n{out / 'verdict.html'}")


@app.command
def parts(
    kind: Literal["method", "mixer", "network", "data", "metric"] | None = None,
) -> None:
    """List every method, mixer, network, data set and metric with its options.

    Parameters
    ----------
    kind
        List only parts of this kind.
    """
    import inspect

    from latentmix.config import catalogue, protocol

    for each in [kind] if kind else list(catalogue.FOLDERS):
        print(f"{each}s" if each != "data" else "data sets (or the path of a folder or .npz file)")
        for part in catalogue.find(each).values():
            print(f"  {part.name:16} {part.summary}")
            shown = [
                name if default is inspect.Parameter.empty else f"{name}={_short(default)}"
                for name, (_, default) in part.options.items()
            ]
            if shown:
                print(f"  {'':16} {', '.join(shown)}")
            for i, line in enumerate(protocol.listed(part.name) if each == "method" else []):
                print(f"  {'':16} {'protocol=paper' if i == 0 else '  and with'} {line}")


def _short(default: object) -> str:
    import dataclasses

    from latentmix.data.names import name_of

    return name_of(type(default)) if dataclasses.is_dataclass(default) else str(default)
