"""Tables and charts of the solver results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.solvers.cases import BUDGETS, ODE_SCORES, PROCESSES
from benchmarks.solvers.fashion import STORE as FASHION
from benchmarks.solvers.fashion import group
from benchmarks.solvers.store import Store
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import best

LIBRARIES = ("inkdrop", "diffusers", "k-diffusion")
COLOURS = {
    "inkdrop": "#2654a0",
    "diffusers": "#c85c28",
    "k-diffusion": "#3c8c5a",
    "default": "#7aa0dc",
    "tuned": "#8c4696",
}
# The smallest error, and the solver that reached it.
Best = tuple[float, str]


@dataclass(frozen=True)
class Chart:
    """All results of one case, as {budget: {solver: error}}."""

    title: str
    process: Process
    rows: dict[int, dict[str, float]]
    tuned: dict[int, Best]

    def best(self, library: str, budget: int) -> Best | None:
        """The best solver of a library at a number of calls."""
        there = [
            (error, name)
            for name, error in self.rows.get(budget, {}).items()
            if library_of(name) == library
        ]
        return min(there, default=None)

    def default(self, budget: int) -> Best | None:
        """The default sampler on its default grid."""
        name = " ".join(best(self.process))
        error = self.rows.get(budget, {}).get(name)
        return None if error is None else (error, name)


def library_of(name: str) -> str:
    """The library of a solver, from its name."""
    first = name.split()[0]
    return first if first in LIBRARIES else "inkdrop"


def mixture_charts(store: Store, kind: str, score: str) -> Iterator[Chart]:
    """One chart for each mixture: kind is ode (score rms or mean) or sde (misfit)."""
    for case, found in (store.get(kind) or {}).items():
        rows: dict[int, dict[str, float]] = {budget: {} for budget in BUDGETS}
        for side in ("ours", "theirs"):
            for named in found.get(side, {score: {}})[score].values():
                for name, errors in named.items():
                    for budget, error in zip(BUDGETS, errors, strict=True):
                        if error is not None:
                            rows[budget][name] = error
        process, dims = case.split("-")
        title = f"{process}, {dims} dimensions"
        yield Chart(title, PROCESSES[process], rows, _tuned(found, score))


def _tuned(found: dict[str, Any], score: str) -> dict[int, Best]:
    return {
        int(budget): (entry[score], entry["sampler"])
        for budget, entry in found.get("tuned", {}).items()
    }


def fashion_chart(score: str) -> Chart | None:
    """The Fashion-MNIST model: 256 noises at 10 calls, if available, and 64 at the others."""
    found = FASHION.load()
    rows: dict[int, dict[str, float]] = {}
    for budget in BUDGETS:
        noises = 256 if budget == 10 else 64
        measured = found.get(group(noises), {}).get(f"{budget} calls", {})
        if not measured:
            measured = found.get(group(64), {}).get(f"{budget} calls", {})
        rows[budget] = {
            name: errors[ODE_SCORES.index(score)] for name, errors in measured.items() if errors
        }
    if not any(rows.values()):
        return None
    return Chart("Fashion-MNIST", PROCESSES["cosine"], rows, _tuned(found, score))


def charts(store: Store, score: str) -> list[Chart]:
    """The charts of all deterministic cases."""
    fashion = fashion_chart(score)
    return [*mixture_charts(store, "ode", score), *([fashion] if fashion else [])]


def short(name: str) -> str:
    """A solver's name, without the parts common to all rows."""
    for word in ("diffusers ", "k-diffusion ", " use_flow_sigmas=True"):
        name = name.replace(word, "")
    return name.replace("final_sigmas_type", "final").replace("solver_", "")


def _cell(found: Best | None) -> str:
    return "" if found is None else f"{found[0]:.3g}"


def _ratio(a: Best | None, b: Best | None) -> str:
    return "" if a is None or b is None else f"{a[0] / b[0]:.2f}"


def table(store: Store) -> None:
    """Prints the Markdown tables of RESULTS.md."""
    for score in ODE_SCORES:
        print(f"\nDeterministic, {score} distance:\n")
        _deterministic(charts(store, score))
    _stochastic(store)


def _deterministic(of: list[Chart]) -> None:
    head = "| case | calls | inkdrop | default / best | tuned / best untuned | diffusers"
    print(f"{head} | k-diffusion | inkdrop / best of both |\n|{'---|' * 8}")
    for chart in of:
        for budget in BUDGETS:
            mine, default = chart.best("inkdrop", budget), chart.default(budget)
            a, b = chart.best("diffusers", budget), chart.best("k-diffusion", budget)
            theirs = min((found for found in (a, b) if found), default=None)
            if mine is None:
                continue
            untuned = min(found for found in (mine, theirs) if found)
            cells = [
                f"{_cell(mine)} {short(mine[1])}",
                _ratio(default, mine),
                _ratio(chart.tuned.get(budget), untuned),
                "" if a is None else f"{_cell(a)} {short(a[1])}",
                "" if b is None else f"{_cell(b)} {short(b[1])}",
                _ratio(mine, theirs),
            ]
            print(f"| {chart.title} | {budget} | {' | '.join(cells)} |")


def _stochastic(store: Store) -> None:
    print("\nStochastic, misfit of inkdrop's best / of the others' best:\n")
    print(f"| case | exact draws | {' | '.join(f'{b} calls' for b in BUDGETS)} |")
    print(f"|---|---|{'---|' * len(BUDGETS)}")
    floors = {case: found["exact draws"] for case, found in (store.get("sde") or {}).items()}
    for chart, floor in zip(mixture_charts(store, "sde", "misfit"), floors.values(), strict=True):
        cells = []
        for budget in BUDGETS:
            mine = chart.best("inkdrop", budget)
            peers = (chart.best(library, budget) for library in LIBRARIES[1:])
            theirs = min((found for found in peers if found), default=None)
            cells.append(f"{_cell(mine)} / {_cell(theirs)}")
        print(f"| {chart.title} | {floor:.3f} | {' | '.join(cells)} |")


def draw(store: Store, folder: Path) -> None:
    """Draws solvers_ode.png and solvers_sde.png: error against calls."""
    found = [chart for chart in charts(store, "rms") if all(chart.rows.values())]
    _figure(found, "rms distance to the converged ODE", folder / "solvers_ode.png")
    found = list(mixture_charts(store, "sde", "misfit"))
    _figure(found, "misfit to the mixture", folder / "solvers_sde.png")


def _figure(panels: list[Chart], label: str, path: Path) -> None:
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter, NullLocator

    if not panels:
        return
    columns = 4
    lines = -(-len(panels) // columns)
    figure, places = plt.subplots(
        lines, columns, figsize=(4 * columns, 3.3 * lines), squeeze=False, layout="constrained"
    )
    for place, chart in zip(places.flat, panels, strict=False):
        _panel(place, chart)
        place.xaxis.set_minor_locator(NullLocator())
        place.xaxis.set_minor_formatter(NullFormatter())
        place.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS])
    for place in places.flat[len(panels) :]:
        place.set_axis_off()
    places[0, 0].legend(fontsize=8)
    figure.supxlabel("network calls")
    figure.supylabel(label)
    figure.savefig(path, dpi=80)
    print(path)


def _panel(place: Any, chart: Chart) -> None:
    def line(name: str, of: Callable[[int], Best | None], style: str) -> None:
        points = [(budget, found[0]) for budget in BUDGETS if (found := of(budget))]
        if points:
            place.loglog(*zip(*points, strict=True), style, color=COLOURS[name], label=name, ms=4)

    for library in LIBRARIES:
        line(library, partial(chart.best, library), "o-")
    line("default", chart.default, "s--")
    line("tuned", chart.tuned.get, "D-")
    place.set_title(chart.title, fontsize=10)
    place.grid(alpha=0.3)
