"""The page: template, style and scripts in one file, and a policy that lets nothing else run or load."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from schemas.evaluation import MEAN
from tasks.report import texts
from tasks.report.columns import columns
from tasks.report.gather import Contents
from tasks.report.headline import costs, coverage, notes, tiles
from tasks.report.listing import about
from tasks.report.pack import pack
from tasks.report.places import state
from tasks.report.sections import figures
from tasks.report.settings import settings

SCRIPTS = (
    *("dom", "theme", "tips", "choices", "table", "price"),
    *("data", "filters", "order", "links", "solution", "browser", "start"),
)
"""In js/, in the order in which they are joined."""
POLICY = "default-src 'none'; script-src '{script}'; style-src '{style}'; base-uri 'none'; form-action 'none'"


def render(contents: Contents) -> bytes:
    """HTML, UTF-8."""
    style = _file("page.css")
    script = '"use strict";\n(() => {\n' + "\n".join(_file(f"js/{name}.js") for name in SCRIPTS) + "})();\n"
    index, chunks = pack(contents.shown.solutions(), about(contents))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["hours"] = texts.hours
    benchmarks = list(dict.fromkeys(row.benchmark for row in contents.rows))
    page = environment.from_string(_file("page.html")).render(
        policy=POLICY.format(script=_hash(script), style=_hash(style)),
        style=Markup(style),
        script=Markup(script),
        contents=contents,
        state=state(contents.run.manifest) if contents.kind == "run" else "",
        run=contents.run,
        models=contents.models,
        tiles=tiles(contents),
        notes=notes(contents),
        costs=costs(contents),
        covered=coverage(contents) if contents.kind != "run" else "",
        settings=settings(contents.runs),
        figures=figures(contents),
        benchmarks=benchmarks,
        columns=columns(contents.rows),
        first=MEAN if MEAN in benchmarks else benchmarks[0],
        index=index,
        chunks=chunks,
    )
    return page.encode("utf-8", "replace")


def _file(name: str) -> str:
    return resources.files("tasks.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
