"""Layers of a box summed before the encoding, where no readout can tell them apart.

A box cut into thin layers emits, at each readout, the sum over its layers and over the states that are looked for.
Where the labels of all of these differ along the cut only, that sum depends only on what the layers are made of: it is
made once for all boxes of one composition, as one state, and the encoding sees whole boxes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.engines.epg_pieces import numbered
from mrisim.engines.epg_sites import Sites
from mrisim.engines.epg_walk import Graph, Station
from mrisim.program import Program
from mrisim.simulate._graph_encoding import Observed, merged

_ALONG = 1e-5  # cycles over the phantom that labels may wind across the cut
_ALIKE = 1e-6  # relative; weights of layers

Sensitivity = Complex[np.ndarray, "coils sites"] | None


def can_be_summed(program: Program, sites: Sites, graph: Graph) -> bool:
    """Whether no readout can tell layers of a box apart, nor the states that are looked for but by the cut."""
    if np.isfinite(np.asarray(sites.spins.t2_prime)).any() or not merged(program, sites):
        return False
    df, position = np.asarray(sites.spins.df), np.asarray(sites.spins.position)
    order = np.argsort(sites.box, kind="stable")
    same = np.diff(sites.box[order]) == 0
    if (np.diff(df[order])[same] != 0).any():
        return False
    reach, labels = float(np.ptp(position, axis=0).max()), [s.observed_labels for s in graph.stations]
    spread = max((float(np.ptp(_across(one, sites), axis=0).max()) for one in labels if len(one)), default=0.0)
    return spread * reach < _ALONG


def find_layers(
    sites: Sites, kind: Int[np.ndarray, " sites"]
) -> tuple[Int[np.ndarray, " layers"], Int[np.ndarray, " sites"], Float[np.ndarray, " layers"]]:
    """Kinds of sites told apart by their place and thickness along the cut: the first site of each, the kind of each
    site, and the thickness of each [m].
    """
    thick, place = _thickness(sites), np.asarray(sites.spins.position) @ sites.cut
    first, layer = numbered([kind, np.round(thick * 1e9), np.round(place * 1e9)])
    return first, layer, thick[first]


def _thickness(sites: Sites) -> Float[np.ndarray, " sites"]:
    return sites.side @ np.abs(sites.axes.T @ sites.cut)


def summed_columns(sites: Sites, observed: Observed, sensitivity: Sensitivity) -> tuple[Sites, Observed, Sensitivity]:
    """Boxes in place of their layers.

    Args:
        sites: Layers of boxes.
        observed: One state per readout: what each kind of layer emits as a whole.
        sensitivity: Of each coil at each layer.
    """
    order = np.argsort(sites.box, kind="stable")
    _, first, box = np.unique(sites.box[order], return_index=True, return_inverse=True)
    weight = np.asarray(sites.spins.weight)[order] * np.asarray(sites.spins.pd)[order]
    total = np.add.reduceat(weight, first)
    share = weight / np.where(total > 0, total, 1.0)[box]
    layer = observed.kind[order]
    composition_first, composition = _compositions(layer, share, first)
    stop = np.append(first, len(order))
    states = np.stack(
        [observed.states[:, layer[first[b] : stop[b + 1]]] @ share[first[b] : stop[b + 1]] for b in composition_first],
        axis=1,
    )
    return (
        _boxes(sites, order, first, total),
        replace(
            observed,
            graph=_plain(observed.graph, sites),
            states=states,
            kind=composition,
            r2_prime=np.zeros(states.shape[1]),
        ),
        None if sensitivity is None else np.add.reduceat(sensitivity[:, order] * share, first, axis=1),
    )


def _across(labels: Float[np.ndarray, "rows 4"], sites: Sites) -> Float[np.ndarray, "rows 4"]:
    """Labels without what lies along the cut."""
    return labels - np.pad(np.outer(labels[:, :3] @ sites.cut, sites.cut), ((0, 0), (0, 1)))


def _compositions(
    layer: Int[np.ndarray, " sites"], share: Float[np.ndarray, " sites"], first: Int[np.ndarray, " boxes"]
) -> tuple[Int[np.ndarray, " kinds"], Int[np.ndarray, " boxes"]]:
    """First box of each composition, and that of each box."""
    marks = np.round(share / _ALIKE).astype(np.int64)
    parts = np.split(np.column_stack([layer, marks]), first[1:])
    found: dict[bytes, int] = {}
    kind = np.array([found.setdefault(part.tobytes(), len(found)) for part in parts])
    return np.unique(kind, return_index=True)[1], kind


def _plain(graph: Graph, sites: Sites) -> Graph:
    """A graph whose readouts look for one state, or still for none."""
    stations = []
    for station in graph.stations:
        some = min(1, len(station.observed))
        label = _across(station.observed_labels[:some], sites)
        stations.append(
            Station(passage=None, before=1, after=1, observed=np.zeros(some, dtype=int), observed_labels=label)
        )
    return replace(graph, stations=tuple(stations))


def _boxes(sites: Sites, order: np.ndarray, first: np.ndarray, total: np.ndarray) -> Sites:
    """One site per box, at its place across the cut."""
    rows = order[first]
    spins = sites.spins.take(rows)
    position = np.asarray(spins.position)
    across = position - np.outer(position @ sites.cut, sites.cut)
    side = sites.side[rows] * (1 - np.abs(sites.axes.T @ sites.cut))
    spins = replace(spins, position=across, weight=total, pd=np.ones(len(rows)))
    return replace(sites, spins=spins, side=side, box=np.arange(len(rows)), initial=sites.initial[rows])
