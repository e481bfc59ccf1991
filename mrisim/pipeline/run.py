"""Run a sequence or a protocol, from specification to report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mrisim.data import Image, ParameterMap, Phantom, RawData
from mrisim.errors import ConsistencyError, Finding, MrisimError, Problem, SpecError
from mrisim.events.blocks import Sequence
from mrisim.io.sequences import is_pulseq, known_of_images, load_sequence, with_images
from mrisim.mapping import fit_maps
from mrisim.phantom import Model, Truth
from mrisim.pipeline.fits import all_or_problems, fits_of, refuse_unsuited_series, refuse_wrong_fits
from mrisim.pipeline.kinds import kind_of
from mrisim.pipeline.output import Output, output_folder
from mrisim.pipeline.phantoms import PhantomSource, fat_of_one_peak, folded_in, whole_fat
from mrisim.pipeline.progress import Clock, Watch, watching
from mrisim.pipeline.records import Result, ScanResult
from mrisim.pipeline.tissues import agreements, tissue_table
from mrisim.pipeline.versions import versions
from mrisim.pipeline.write import write
from mrisim.protocol import Protocol, Scan, load_protocol
from mrisim.recon import reconstruct, stack
from mrisim.simulate import hosts, simulate
from mrisim.simulate.need import memory_need, memory_text

DEFAULT_PHANTOM = "brain"
DYNAMIC = ("dce", "dsc")  # fits whose maps depend on the time between images
DEFAULTS: dict[str, Any] = {
    "engine": "bloch",
    "pulses": "shaped",
    "spoiling": "gradient",
    "dtype": "float32",
    "coils": None,
    "noise": 0.0,
    "injection": None,
    "seed": 0,
    "memory": None,
    "voxel": None,
    "isochromats": None,
    "extent": None,
}


def run(
    name_or_path: str | Path | Protocol,
    *,
    phantom: str | Path | Phantom | Model | None = None,
    phantom_set: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    field: str | float | None = None,
    engine: Literal["bloch", "epg"] | None = None,
    pulses: Literal["shaped", "ideal"] | None = None,
    spoiling: Literal["gradient", "ideal"] | None = None,
    dtype: Literal["float32", "float64"] | None = None,
    coils: int | str | None = None,
    noise: float | str | None = None,
    injection: float | str | None = None,
    seed: int | None = None,
    memory: str | int | None = None,
    voxel: str | float | None = None,
    isochromats: int | None = None,
    strict: bool = False,
    system: str | Path | None = None,
    use: Mapping[str, Iterable[int]] | None = None,
    resume: bool = False,
    progress: bool | Watch = False,
) -> Result:
    """Simulate, reconstruct, fit maps, write files, figures and a report.

    The phantom is sampled on the slab that each sequence excites, along its axes, with the image's voxel.

    Args:
        name_or_path: Sequence or protocol: name in the library, a .yaml file, a Pulseq .seq file; or a `Protocol`.
        phantom: Name, file that `load_phantom` reads, model or isochromats; default: the protocol's, or the brain.
        phantom_set: Parameters of the phantom, SI or text with unit.
        out: Folder for files, figures and report; nothing is written without it.
        set: Parameters of the sequence (of every scan of a protocol), SI or text with unit.
        field: Field strength that tissues are looked up at [T]; default: the phantom's own.
        engine: "bloch" or "epg", as in `simulate`; default: the protocol's, the sequence's, or "bloch".
        pulses: "shaped" (default) or "ideal".
        spoiling: "gradient" (default) or "ideal".
        dtype: "float32" (default) or "float64".
        coils: Elements of the receive array; one uniform coil by default.
        noise: Standard deviation of one sample, or a text such as "snr 50".
        injection: When the phantom's contrast agent is injected, since the start of each scan [s]; none by default.
        seed: Of the noise; each run of a sequence adds its own number.
        memory: Budget such as "4 GiB".
        voxel: Side of a voxel in the plane [m].
        isochromats: Per voxel; a slice has 17 layers of voxels. Default: what leaves no spurious echoes, within reason.
        strict: Refuse a .seq file whose signature or definitions are wrong.
        system: Scanner of a .seq file: name or .yaml file.
        use: What pulses of a .seq file are for, by their numbers there, such as {"refocusing": [2]}.
        resume: Go on with a run into the same folder that was interrupted; it must be the same run.
        progress: True for a bar in the terminal, or a function of (what, share).

    Returns:
        Samples, images, maps, the table against the truth, findings, seconds per phase, versions.

    Raises:
        SpecError: the specification or a parameter breaks a rule; all problems at once.
        ConsistencyError: sequence and phantom do not fit each other.
        ResourceError: memory, or a folder that cannot be written; nothing is left half-written.

    Example:
        >>> result = run("spin_echo", phantom="brain", set={"matrix": 16}, isochromats=1)
        >>> result.image.data.shape
        (1, 1, 16, 16)
    """
    given = {
        "engine": engine, "pulses": pulses, "spoiling": spoiling, "dtype": dtype, "coils": coils, "noise": noise,
        "injection": injection, "seed": seed, "memory": memory, "voxel": voxel, "isochromats": isochromats,
    }  # fmt: skip
    protocol = _protocol(name_or_path, set or {})
    options = {key: value for key, value in given.items() if value is not None}
    reading = {key: value for key, value in (("strict", strict), ("system", system), ("use", use)) if value}
    with ExitStack() as stack_:
        output = stack_.enter_context(output_folder(out, resume, hosts.rank()))
        watch = stack_.enter_context(watching(progress))
        clock = Clock(sum(len(scan.runs) for scan in protocol.scans), watch)
        wanted = {**(protocol.phantom_parameters if phantom is None else {}), **(phantom_set or {})}
        wanted |= {} if field is None else {"field": field}
        with clock.phase("expand", "Reading sequences"):
            voxel = {**DEFAULTS, **protocol.simulation, **options}["voxel"]
            source, sequences, _ = all_or_problems(
                lambda: _phantom(protocol, phantom, wanted, voxel),
                lambda: _expand(protocol, reading),
                lambda: refuse_wrong_fits(protocol, ()),
            )
            refuse_wrong_fits(protocol, (seq for runs in sequences.values() for seq in runs[:1]))
            refuse_unsuited_series(protocol, sequences)
            if "fat_water" in fits_of(protocol, sequences):
                source = _with_whole_fat(source, protocol, phantom, wanted, voxel)
        result = _compute(protocol, source, sequences, options, clock, output)
        if output is not None and hosts.rank() == 0:
            result = write(result, output.folder, clock)
    return result if out is None or hosts.rank() else replace(result, folder=Path(out))


def _protocol(name_or_path: str | Path | Protocol, given: Mapping[str, Any]) -> Protocol:
    """The protocol, or a sequence dressed as one; the caller's parameters go to every run."""
    if isinstance(name_or_path, Protocol):
        return name_or_path
    kind = kind_of(name_or_path)
    if kind == "phantom":
        rule = f"must be a sequence or a protocol, but is the phantom '{name_or_path}'"
        raise SpecError(Problem(rule, f"Name a sequence, with phantom={Path(name_or_path).stem}"))
    if kind == "sequence":
        name = Path(name_or_path).stem
        return Protocol(
            name=name,
            phantom=DEFAULT_PHANTOM,
            scans=(Scan(name=name, sequence=str(name_or_path), runs=({**given},)),),
        )
    protocol = load_protocol(name_or_path)
    for scan in protocol.scans:
        for key in given.keys() & {*scan.varied}:
            rule = f"must not be set, because scan '{scan.name}' varies it, but is"
            raise SpecError(Problem(rule, "Set it in a copy of the protocol", path=key))
    scans = tuple(replace(scan, runs=tuple({**run, **given} for run in scan.runs)) for scan in protocol.scans)
    return replace(protocol, scans=scans)


def _phantom(
    protocol: Protocol,
    phantom: str | Path | Phantom | Model | None,
    given: Mapping[str, Any],
    voxel: str | float | None,
) -> PhantomSource:
    if phantom is not None or protocol.source is None:
        return PhantomSource.of(protocol.phantom if phantom is None else phantom, given, voxel=voxel)
    try:
        return PhantomSource.of(protocol.phantom, given, voxel=voxel)
    except SpecError as error:
        problems = ((p, ("phantom", *p.path.removeprefix("phantom").split())) for p in error.problems)
        placed = protocol.source.problem
        raise SpecError([p if p.file else placed(path, p.rule, p.remedy) for p, path in problems]) from None


def _with_whole_fat(
    source: PhantomSource,
    protocol: Protocol,
    phantom: str | Path | Phantom | Model | None,
    given: Mapping[str, Any],
    voxel: str | float | None,
) -> PhantomSource:
    """The phantom with all peaks of its fat, where the user has not said which fat it has; and what is told of it."""
    more = {key: value for key, value in whole_fat(source.model).items() if key not in given}
    told: tuple[Finding, ...] = ()
    if more and source.model is not None and (phantom is None or isinstance(phantom, (str, Path))):
        before = getattr(source.model, "parameters", {})
        had = " ".join(f"--phantom-set {key}={before[key]}" for key in more)
        text = f"fat of phantom '{source.model.name}' has its full spectrum, by which the maps tell it from water"
        told = (Finding("fat", text, f"Run with {had} for fat of one peak"),)
        source = _phantom(protocol, phantom, {**given, **more}, voxel)
    return replace(source, findings=(*told, *fat_of_one_peak(source.model)))


def _compute(
    protocol: Protocol,
    source: PhantomSource,
    sequences: Mapping[str, tuple[Sequence, ...]],
    given: Mapping[str, Any],
    clock: Clock,
    output: Output | None,
) -> Result:
    _refuse_injections(protocol, source, given)
    scans = {}
    for scan in protocol.scans:
        wish = _wish(sequences[scan.name][0])
        chosen = {**DEFAULTS, **wish, **protocol.simulation, **scan.simulation, **given}
        scans[scan.name] = _scan(scan, sequences[scan.name], source, chosen, clock, output)
    with clock.phase("fit", "Fitting maps"):
        maps = _maps(protocol, scans)
    with clock.phase("compare", "Comparing with the truth"):
        truths = _truths(source, maps) if protocol.truth else []
        table = tuple(row for truth, group in truths for row in tissue_table(group, truth))
        intervals = _intervals(protocol, scans, maps)
        agreement = tuple(row for truth, group in truths for row in agreements(group, truth, intervals))
    return Result(
        protocol=protocol,
        scans=scans,
        maps=maps,
        truth={name: true for truth, group in truths for name, true in _truth_maps(truth, group).items()},
        tissues=table,
        agreement=agreement,
        findings=(*_findings(scans, maps), *source.findings),
        seconds=clock.seconds,
        provenance={
            "options": {**DEFAULTS, **_wished(sequences), **protocol.simulation, **given},
            "phantom_parameters": dict(getattr(source.model, "parameters", {})),
            "versions": versions(),
        },
    )


def _refuse_injections(protocol: Protocol, source: PhantomSource, given: Mapping[str, Any]) -> None:
    """Refuse a contrast agent that no tissue of the phantom takes up.

    Raises:
        SpecError: each injection, at its place.
    """
    if source.takes_up_agent:
        return
    name = protocol.phantom if source.model is None else source.model.name
    remedy = "Leave it out, or take a phantom with an agent, such as brain_with_tumour"
    problems = []
    for scan in protocol.scans:
        own = ("scans", scan.name, "simulation", "injection")
        placed = [((), given), (own, scan.simulation), (("simulation", "injection"), protocol.simulation)]
        where, asked = next(((path, one["injection"]) for path, one in placed if "injection" in one), ((), None))
        if asked is None:
            continue
        rule = f"must be left out for the phantom '{name}', where no tissue takes up a contrast agent, but is {asked}"
        if where and protocol.source is not None:
            problems.append(protocol.source.problem(where, rule, remedy))
        else:
            problems.append(Problem(rule, remedy, "injection"))
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))


def _wish(seq: Sequence) -> dict[str, Any]:
    """Options that a sequence asks for."""
    return {key: value for key, value in seq.simulation.items() if key in DEFAULTS}


def _wished(sequences: Mapping[str, tuple[Sequence, ...]]) -> dict[str, Any]:
    """Options that all sequences ask for, where they agree."""
    wishes = [_wish(runs[0]) for runs in sequences.values()]
    return wishes[0] if all(wish == wishes[0] for wish in wishes) else {}


def _expand(protocol: Protocol, reading: Mapping[str, Any]) -> dict[str, tuple[Sequence, ...]]:
    """Sequences of all runs; all problems of all scans at once."""
    sequences, problems = {}, []
    for scan in protocol.scans:
        try:
            loaded = (load_sequence(scan.sequence, **reading, **dict(run)) for run in scan.runs)
            sequences[scan.name] = tuple(_windowed(seq, scan.window) for seq in loaded)
        except MrisimError as error:
            problems += [_placed(problem, protocol, scan) for problem in error.problems]
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return sequences


def _windowed(seq: Sequence, window: str) -> Sequence:
    """The sequence whose images are filtered as a protocol says, where it does."""
    if not window or seq.recon is None:
        return seq
    return replace(seq, recon=replace(seq.recon, window=window))


def _placed(problem: Problem, protocol: Protocol, scan: Scan) -> Problem:
    """A problem of a value that a protocol sets is shown at its place in the protocol."""
    if protocol.source is None:
        return problem
    for part in ("set", "each"):
        path = ("scans", scan.name, part, problem.path.removeprefix("parameters."))
        if path in protocol.source.places:
            return protocol.source.problem(path, problem.rule, problem.remedy)
    if not problem.file:
        return protocol.source.problem(("scans", scan.name), problem.rule, problem.remedy)
    return problem


def _scan(
    scan: Scan,
    sequences: tuple[Sequence, ...],
    source: PhantomSource,
    options: Mapping[str, Any],
    clock: Clock,
    output: Output | None,
) -> ScanResult:
    chosen = {
        key: options[key] for key in ("engine", "pulses", "spoiling", "dtype", "coils", "noise", "injection", "memory")
    }
    raws, images = [], []
    for number, seq in enumerate(sequences):
        what = scan.name if len(sequences) == 1 else f"{scan.name} {number + 1} of {len(sequences)}"
        with clock.phase("sample", f"{what}: phantom"):
            imaged = with_images(seq) if is_pulseq(scan.sequence) else seq
            sampled = (options[key] for key in ("isochromats", "spoiling", "engine", "extent"))
            phantom, left_out = _as_wanted(source.sample(imaged, *sampled), seq)
        place = None if output is None or options["engine"] != "bloch" else output.checkpoint(scan.name, number)
        chosen |= {"seed": int(options["seed"]) + number, "checkpoint": place}
        if options["engine"] == "bloch":
            asked = {key: options[key] for key in ("pulses", "coils", "dtype", "memory")}
            need, budget = memory_need(seq, phantom, **asked)
            clock.note(f"{what}: {phantom.n_spins:,} isochromats need {memory_text(need)}, of {memory_text(budget)}")
        with clock.phase("simulate", f"{what}: simulating", weight=1.0):
            raw = simulate(seq, phantom, progress=clock.inside(f"{what}: simulating"), **chosen)
        clock.move("simulate", "compile", float(raw.provenance.get("seconds", {}).get("compile", 0.0)))
        raw = replace(raw, provenance={**raw.provenance, "parameters": dict(scan.runs[number])})
        raw = replace(raw, findings=(*raw.findings, *left_out))
        with clock.phase("reconstruct", f"{what}: reconstructing"):
            if raw.recon is not None:
                images.append(replace(reconstruct(raw), name=scan.name))
            elif is_pulseq(scan.sequence) and raw.signal.shape[1]:
                raw, found = _inferred(raw, seq)
                images += [replace(image, name=scan.name) for image in found]
        raws.append(raw)
    with clock.phase("reconstruct", f"{scan.name}: stacking"):
        image = stack(images, scan.name) if len(images) > 1 else images[0] if images else None
    return ScanResult(name=scan.name, sequences=sequences, raw=tuple(raws), phantom=phantom, image=image)


def _as_wanted(phantom: Phantom, seq: Sequence) -> tuple[Phantom, tuple[Finding, ...]]:
    """Isochromats as the sequence wants them, and what the user must hear of it."""
    if seq.simulation.get("t2_prime") is not False or not np.isfinite(np.asarray(phantom.t2_prime)).any():
        return phantom, ()
    text = "T2' of tissue is left out, as the sequence wants it: T2* is T2"
    finding = Finding("T2'", text, "Set simulation: {t2_prime: true} in a file that extends it, and wait")
    return replace(phantom, t2_prime=np.full(phantom.n_spins, np.inf)), (finding,)


def _inferred(raw: RawData, seq: Sequence) -> tuple[RawData, list[Image]]:
    """Samples of a foreign file with what it tells about images, and their image; none, with a finding, where they
    make none."""
    raw = replace(raw, provenance={**raw.provenance, **known_of_images(seq)})
    try:
        return raw, [reconstruct(raw)]
    except ConsistencyError as error:
        reason = "; ".join(f"{p.path}: {p.rule}" if p.path else p.rule for p in error.problems)
        finding = Finding("no image", f"the samples of {seq.name} are kept, but make no image ({reason})")
        return replace(raw, findings=(*raw.findings, finding)), []


def _maps(protocol: Protocol, scans: Mapping[str, ScanResult]) -> dict[str, ParameterMap]:
    images: dict[str, Image] = {name: scan.image for name, scan in scans.items() if scan.image is not None}
    if protocol.maps:
        used = {spec.get("from") for spec in protocol.maps.values()}
        series = {name: image for name, image in images.items() if name in used or len(images) == 1}
        if len(scans) == 1:
            only = next(iter(images.values()))
            return fit_maps(only, {name: _without_from(spec) for name, spec in protocol.maps.items()})
        return fit_maps(series, protocol.maps)
    if len(scans) == 1 and images:
        image = next(iter(images.values()))
        asked = image.provenance.get("maps", {})
        return fit_maps(image, asked) if asked else {}
    return {}


def _without_from(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "from"}


def _intervals(
    protocol: Protocol, scans: Mapping[str, ScanResult], maps: Mapping[str, ParameterMap]
) -> dict[str, float]:
    """Time between the images of maps that are made of a dynamic series [s]."""
    found = {}
    for name, estimate in maps.items():
        spec = estimate.provenance.get("fit", {})
        image = scans.get(protocol.maps.get(name, {}).get("from", next(iter(scans))), next(iter(scans.values()))).image
        if spec.get("fit") in DYNAMIC and image is not None and len(image.data) > 1:
            found[name] = float(np.median(np.diff(np.sort(image.coordinates["time"]))))
    return found


def _truths(source: PhantomSource, maps: Mapping[str, ParameterMap]) -> list[tuple[Truth, dict[str, ParameterMap]]]:
    """The truth on each grid that maps lie on, with the maps that lie there."""
    found: list[tuple[Truth, dict[str, ParameterMap]]] = []
    if source.model is None:
        return found
    for name, estimate in maps.items():
        there = next((group for truth, group in found if truth.grid.matches(estimate.grid)), None)
        if there is None:
            there = {}
            found.append((source.model.truth(estimate.grid), there))
        there[name] = estimate
    return found


def _truth_maps(truth: Truth, maps: Mapping[str, ParameterMap]) -> dict[str, ParameterMap]:
    return {
        name: ParameterMap(name=name, unit=estimate.unit, data=truth.maps[name], grid=estimate.grid, mask=estimate.mask)
        for name, estimate in maps.items()
        if name in truth.maps
    }


def _findings(scans: Mapping[str, ScanResult], maps: Mapping[str, ParameterMap]) -> tuple[Finding, ...]:
    found: dict[Finding, None] = {}
    for scan in scans.values():
        images: tuple[RawData | Image, ...] = (*scan.raw, *((scan.image,) if scan.image is not None else ()))
        for item in images:
            found.update(dict.fromkeys(item.findings))
        found.update(dict.fromkeys(folded_in(scan.sequences[0], scan.phantom)))
        violations = {str(v) for seq in scan.sequences for v in seq.check()}
        if violations:
            text = f"scan '{scan.name}' breaks {len(violations)} limits of the scanner, first: {min(violations)}"
            found[Finding("hardware", text.removesuffix("."), "See mrisim check")] = None
    for estimate in maps.values():
        found.update(dict.fromkeys(estimate.findings))
    return tuple(found)
