"""The figures as a picture. The only module that draws; matplotlib is a tool of the development environment."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from appliance.bench.figures import Latency
from appliance.bench.results import BenchResult, SubjectResult
from appliance.errors import ApplianceError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def require_plotting() -> None:
    """Fail now rather than after the measurement.

    Raises:
        ApplianceError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ApplianceError(
            "the plot needs the Python package matplotlib, which is not installed here",
            "make setup installs it; --no-plot measures without",
        ) from error
    matplotlib.use("Agg")


def write_plot(result: BenchResult, path: Path) -> None:
    """Latencies of one client's words; latency over clients and over the hour, where these were measured."""
    require_plotting()
    from matplotlib.figure import Figure

    subjects = result.subjects
    panels = 1 + any(one.parallel for one in subjects) + any(one.long_run for one in subjects)
    figure = Figure(figsize=(6 * panels, 4.5), layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, panels, squeeze=False)[0])
    _draw_latencies(axes.pop(0), subjects)
    if any(one.parallel for one in subjects):
        _draw_clients(axes.pop(0), subjects)
    if any(one.long_run for one in subjects):
        _draw_hour(axes.pop(0), subjects)
    facts = result.circumstances
    figure.suptitle(f"{facts.machine.cpu}, {facts.machine.cores} cores; {result.settings['model']}; {facts.date[:10]}")
    figure.savefig(path, dpi=120)


def _draw_latencies(axes: "Axes", subjects: Sequence[SubjectResult]) -> None:
    for number, one in enumerate(subjects):
        committed = [latency for heard in one.alone.heard for latency in heard.committed]
        shown = [latency for heard in one.alone.heard for latency in heard.shown]
        axes.plot(*_cumulative(committed), color=f"C{number}", label=f"{one.name}, committed")
        axes.plot(*_cumulative(shown), color=f"C{number}", linestyle=":", label=f"{one.name}, shown")
    axes.set(
        title="One client", xlabel="seconds after it was spoken", ylabel="share of words", ylim=(0, 1), xlim=(0, None)
    )
    axes.legend()


def _cumulative(latencies: Sequence[Latency]) -> tuple[list[float], list[float]]:
    ordered = sorted(latency.latency_s for latency in latencies)
    return ordered, [float(share) for share in np.arange(1, len(ordered) + 1) / max(1, len(ordered))]


def _draw_clients(axes: "Axes", subjects: Sequence[SubjectResult]) -> None:
    for number, one in enumerate(subjects):
        points = [(part.clients, part.shown.p90_s) for part in one.parallel if part.shown.p90_s is not None]
        axes.plot([x for x, _ in points], [y for _, y in points], "o-", color=f"C{number}", label=one.name)
    axes.set(title="Many clients", xlabel="clients at once", ylabel="shown after, p90 (s)", ylim=(0, None))
    axes.legend()


def _draw_hour(axes: "Axes", subjects: Sequence[SubjectResult]) -> None:
    for number, one in enumerate(subjects):
        minutes = one.long_run.by_minute if one.long_run else ()
        points = [(part.minute, part.commit_p90_s) for part in minutes if part.commit_p90_s is not None]
        axes.plot([x for x, _ in points], [y for _, y in points], color=f"C{number}", label=f"{one.name}, committed")
    axes.set(title="Long run", xlabel="minute", ylabel="committed after, p90 (s)", ylim=(0, None))
    axes.legend()
