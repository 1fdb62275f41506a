"""``streamcast model``: trained models and the architectures."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, get_args

import torch
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from streamcast.app.commands import tables
from streamcast.app.commands.files.reading import read_outcomes
from streamcast.app.commands.tables import lean
from streamcast.app.json_text import print_json
from streamcast.app.markup import escape
from streamcast.app.moments import moment
from streamcast.app.options.flags import elsewhere
from streamcast.app.options.groups import Columns, CompressOptions
from streamcast.app.progress import stages_shown
from streamcast.app.trained import baseline, flattered, quality, zone_of
from streamcast.engine.engine import layout
from streamcast.errors import ModelError
from streamcast.models.guide import advisor, catalogue
from streamcast.models.guide.advisor import Resources, Task
from streamcast.models.network import Network, with_network
from streamcast.models.spec import SpecError
from streamcast.models.surgery import compress as compression
from streamcast.offline.training.fit import held_out_loss
from streamcast.printable import escaped
from streamcast.quality import SumsByStep, with_known_coverage
from streamcast.spec.folders import (
    Model,
    Version,
    list_models,
    load_model,
    lost_aliases,
    newest_row,
    promote,
    save_model,
)
from streamcast.spec.model_spec import ModelSpec, format_duration
from streamcast.topics import schemas
from streamcast.wording import counted, duration_name, span_name

DIGITS = 8
"""Digits of a digest in a table."""
SEEN = "*"
"""The mark of figures of outcomes that a model has seen."""


def ls(folder: Path, as_json: bool, console: Console) -> int:
    """List all versions of all models."""
    found = list_models(folder)
    if as_json:
        rows = [
            {
                "name": m.name,
                "version": m.version,
                "aliases": m.aliases,
                "digest": m.digest,
                "facts": _facts(m.facts),
                "trouble": m.trouble,
            }
            for m in found
        ]
        print_json(console, rows)
        return 0
    if not found:
        console.print(
            f"No models in {escape(str(folder))}: [bold]streamcast train[/] or [bold]streamcast model new[/] makes one"
        )
        return 0
    numbers = ["MAE", "of naive's", "interval held"]
    table = lean("model", "aliases", "digest", "trained on", "until", *numbers, numbers=numbers)
    for m in found:
        measured, seen = SumsByStep.of_facts(m.facts.get("quality") or {}).over_all(), flattered(m.facts)
        figures = ((measured.mae, ".4g"), (measured.relative, ".3f"), (measured.coverage, ".1%"))
        cells = (
            f"{m.name}@{m.version}", ", ".join(m.aliases), m.digest[:DIGITS], str(m.facts.get("data", "")),
            _until(m), *(_number(value, form) + SEEN * (seen and math.isfinite(value)) for value, form in figures),
        )  # fmt: skip
        table.add_row(*(Text(escaped(cell)) for cell in cells))
    console.print(table)
    for line in _remarks(folder, found):
        console.print(escape(escaped(line)), highlight=False)
    return 0


def _until(version: Version) -> str:
    """Return the newest time that a training read, in the zone of its file; a dash where nothing says it."""
    newest = newest_row(version.facts)
    return "-" if newest is None else moment(newest, zone_of(version))


def _remarks(folder: Path, found: Sequence[Version]) -> Iterator[str]:
    """Yield what the cells of a list do not say: whose figures flatter or differ in time, what is broken."""
    if any(flattered(m.facts) for m in found):
        yield f"{SEEN} of outcomes that the version it was trained from had seen: better than it is"
    measured = {(m.name, q.get("from"), q.get("until")) for m in found if (q := m.facts.get("quality"))}
    if len(measured) > len({name for name, *_ in measured}):
        yield (
            "Versions were measured on different times: compare them by streamcast backtest, with a --test-from after"
            " the latest time of “until”."
        )
    for m in found:
        if m.trouble:
            yield f"{m.name}@{m.version} is broken: {m.trouble}"
    for name in dict.fromkeys(m.name for m in found):
        with suppress(ModelError):  # it has its line already
            for alias, version in lost_aliases(folder, name).items():
                yield (
                    f"{name}@{alias} is an alias for version {version}, which is not there: promote another, or copy"
                    f" version {version} to {folder / name}"
                )


def _facts(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a model's facts as they are shown."""
    return {**facts, "quality": with_known_coverage(facts["quality"])} if facts.get("quality") else facts


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else ""


def show(folder: Path, reference: str, as_json: bool, console: Console) -> int:
    """Show one model: columns, forecast, size, training."""
    model = load_model(folder, reference)
    spec = model.spec
    facts: dict[str, Any] = {
        "model": f"{model.name}@{model.version}",
        "digest": model.digest,
        "saved by": f"streamcast {model.saved_by}" if model.saved_by else None,
        "target": spec.series.target,
        "columns": [column.name for column in spec.series.columns],
        "known ahead": [known.name for known in spec.targets.known] if spec.targets else [],
        "categories": {c.name: list(c.categories) for c in spec.series.columns if c.categories is not None},
        "lower": spec.lower,
        "upper": spec.upper,
        "transform": spec.transform.model_dump() if spec.transform else None,
        "zone": spec.zone,
        "holidays": spec.targets.local.holidays if spec.targets else None,
        "freq": spec.series.bar,
        "scales": [format_duration(scale.every) for scale in spec.scales],
        "horizon": spec.horizon,
        "quantiles": list(spec.quantiles),
        "lags": spec.lags,
        "season": spec.season,
        "further seasons": spec.further,
        "mode": spec.series.mode,
        "network": spec.network,
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "bytes per series": layout(spec, model.network).row_bytes,
        **{f"training {key}": value for key, value in _facts(model.facts).items()},
    }
    if as_json:
        print_json(console, facts)
        return 0
    told = {name: _shown(value) for name, value in {**facts, **_readable(model)}.items() if value is not None}
    console.print(tables.facts(told))
    return 0


def _shown(value: object) -> object:
    """Return a fact as a terminal shows it: numbers with four digits, named values as "name value", parts of a list."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
        return " + ".join(f"({_shown(part)})" for part in value)
    return value


def _readable(model: Model) -> dict[str, object]:
    """Return lists, times and the quality as a terminal shows them."""
    spec, facts = model.spec, model.facts
    times = {
        f"training {name}": moment(facts[name], zone_of(model))
        for name in ("first", "last", "from_last", "held_out_from")
        if isinstance(facts.get(name), int)
    }
    return {
        "columns": ", ".join(column.name for column in spec.series.columns),
        "known ahead": ", ".join(known.name for known in spec.targets.known) if spec.targets else "",
        "categories": "; ".join(
            f"{column.name}: {', '.join(column.categories)}"
            for column in spec.series.columns
            if column.categories is not None
        ),
        "lower": "" if spec.lower is None else f"{spec.lower:g}",
        "upper": "" if spec.upper is None else f"{spec.upper:g}",
        "transform": spec.transform.kind if spec.transform else "none",
        "holidays": (spec.targets.local.holidays or "") if spec.targets else "",
        "quantiles": ", ".join(f"{level:g}" for level in spec.quantiles),
        "scales": ", ".join(duration_name(scale.every) for scale in spec.scales) or "the bars only",
        "horizon": _bars(spec.horizon, spec),
        "lags": _bars(spec.lags, spec) if spec.lags else "none",
        "season": "none" if spec.season == (1,) else ", ".join(_bars(season, spec) for season in spec.season),
        "further seasons": ", ".join(_bars(season, spec) for season in spec.further),
        "seasonal naive": baseline(spec),
        "training quality": "\n".join(quality(model)),
        **times,
    }


def _bars(number: int, spec: ModelSpec) -> str:
    """Return a number of bars and how long they are, such as "168 bars (1 week)"."""
    return f"{counted(number, 'bar')} ({span_name(number, spec.series.freq)})"


def schema(folder: Path, reference: str, of: str, console: Console) -> int:
    """Print the JSON Schema of a model's records or forecasts; raises SpecError for any other ``of``."""
    spec = load_model(folder, reference).spec
    if of == "observation":
        found = schemas.observation(spec)
    elif of == "forecast":
        found = schemas.forecast(spec)
    else:
        raise SpecError(f"--of is {of!r}: expected observation or forecast")
    print_json(console, found)
    return 0


def make_alias(folder: Path, reference: str, alias: str, console: Console) -> int:
    """Point an alias to a version; raises ModelError for one that no service could read, such as a half copied one."""
    load_model(folder, reference)
    version = promote(folder, reference, alias)
    name = reference.partition("@")[0]
    console.print(
        f"{alias} is now {name}@{version}; a service whose lanes name {name}@{alias} uses it after its next start"
    )
    return 0


def zoo(as_json: bool, as_markdown: bool, console: Console) -> int:
    """List every architecture with its cost on this machine."""
    torch.set_num_threads(1)
    names = catalogue.listed()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        found = [catalogue.measure(name) for name in progress.track(names, description="measuring")]
    if as_json:
        print_json(console, [asdict(model) for model in found])
    elif as_markdown:
        print(catalogue.page(found), end="")  # noqa: T201 a file's content, not a message
    else:
        numbers = ["weights", "state", *found[0].step_us]
        title = f"Weights, bytes of state, and µs per step of {', '.join(found[0].step_us)} rows"
        table = lean("name", "source", "streams", *numbers, numbers=numbers, title=title)
        for m in found:
            costs = (f"{m.parameters:,}", f"{m.state_bytes:,}", *(f"{us:,.0f}" for us in m.step_us.values()))
            table.add_row(m.name, m.source, m.exact if m.streams else "window", *costs)
        console.print(table)
    return 0


def advise(steps: int, resources: str, task: str, as_json: bool, console: Console) -> int:
    """Recommend an architecture for a task, with reasons and its spec."""
    for name, value, known in (("resources", resources, Resources), ("task", task, Task)):
        if value not in get_args(known):
            raise SpecError(f"--{name} is {value!r}: expected one of {', '.join(get_args(known))}")
    advice = advisor.advise(steps, cast("Resources", resources), cast("Task", task))
    if as_json:
        print_json(console, asdict(advice))
        return 0
    table = lean("profile", "recommends", "because")
    for opinion in advice.opinions:
        says = json.dumps(opinion.spec) if opinion.spec else "no preference"
        because = opinion.why + (f"\nMeasured: {opinion.measured}" if opinion.measured else "")
        table.add_row(opinion.profile, " + ".join([says, *opinion.compression]), because)
    console.print(table)
    console.print(advice.why, highlight=False)
    console.print(f"spec: [bold]{json.dumps(advice.spec)}[/]", highlight=False)
    if advice.compression:
        how = " ".join(advice.compression)
        console.print(f"After training: streamcast model compress NAME --how {how}", highlight=False)
    return 0


@stages_shown()
def compress(
    folder: Path, reference: str, options: CompressOptions, data: Path | None, columns: Columns, console: Console
) -> int:
    """Save a smaller model as the next version; print its size, speed and, with data, its loss.

    Raises ModelError, HistoryError, or SpecError for a network that cannot be made smaller.
    """
    how = options.how
    if how not in ("int8", "prune"):
        raise SpecError(f"--how is {how!r}: expected int8 or prune")
    model = load_model(folder, reference)
    whole = with_network(model.network, f"compress {model.name}@{model.version}")
    history = None if data is None else read_outcomes(data, columns, model)
    torch.set_num_threads(1)
    small = compression.quantised(whole) if how == "int8" else compression.pruned(whole, options.keep)
    spec = ModelSpec.model_validate({**model.spec.model_dump(), "network": dict(small.spec)})

    def loss(network: Network) -> float:
        return math.nan if history is None else held_out_loss(network, history, model.spec)

    before, after = compression.compare(whole, small, loss)
    other = ("validation_loss", "quality", "loss_before_compression")
    facts = {name: value for name, value in model.facts.items() if name not in other}
    facts["whole"] = f"{model.name}@{model.version}"
    facts["compressed"] = f"{how} of {facts['whole']}"
    if history is not None:
        facts |= {"whole_loss": before.loss, "validation_loss": after.loss}
    saved = save_model(folder, model.name, spec, small, facts)
    numbers = ["parameters", "weight bytes", "state bytes", "step µs at 8 rows", "validation loss"]
    table = lean("model", *numbers, numbers=numbers)
    for name, cost in ((f"{model.name}@{model.version}", before), (f"{saved.name}@{saved.version}", after)):
        table.add_row(
            name, f"{cost.parameters:,}", f"{cost.weight_bytes:,}", f"{cost.state_bytes:,}", f"{cost.step_us:.0f}",
            "needs --data" if history is None else f"{cost.loss:.4f}",
        )  # fmt: skip
    console.print(table)
    name = shlex.join([f"{saved.name}@{saved.version}", *elsewhere(folder)])
    if how == "prune":
        console.print(f"Continue training: streamcast train DATA --from {escape(name)}", highlight=False)
    console.print(f"Next: streamcast backtest DATA --model {escape(name)}", highlight=False)
    return 0
