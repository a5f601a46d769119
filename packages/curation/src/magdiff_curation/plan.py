"""Before a long run: is everything there (`validate`), and what would it take (`plan`, from a measured sample).

The sample is a part of the run: its results stay, and the run goes on from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from magdiff_curation.backends import check_models
from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.clips.index import SHARD_LIST, load_shard_list
from magdiff_curation.commit import Workspace, open_set
from magdiff_curation.config import CurationSettings
from magdiff_curation.normalize import ffmpeg_version
from magdiff_curation.pipeline import check_installed, find_work, run_on_ray, say
from magdiff_curation.progress import duration
from magdiff_curation.reasons import Status
from magdiff_curation.runs import begin, past_runs
from magdiff_curation.sources import list_inputs
from magdiff_curation.stages import STAGES
from magdiff_curation.state import ClipState


def validate(settings: CurationSettings) -> bool:
    """Say of everything that a run needs whether it is there; return whether all of it is. Runs no model."""

    def source() -> str:
        states = list_inputs(settings)
        missing = [state.source for state in states if state.size_bytes < 0]
        silent = [state.source for state in states if not state.caption]
        if len(missing) == len(states):
            raise ValueError(f"none of the {len(states)} inputs of {settings.source} is a file, e.g. {missing[0]}")
        text = f"{len(states)} inputs in {settings.source}, {sum(max(0, s.size_bytes) for s in states) / 1e9:.2f} GB"
        text += f"; {len(missing)} are not files, e.g. {missing[0]}" if missing else ""
        what = "will be captioned" if settings.answer.missing_caption == "make" else "will be dropped"
        return text + (f"; {len(silent)} without a caption {what}, e.g. {silent[0]}" if silent else "")

    def output() -> str:
        open_set(settings.output, settings.result_sha256())
        probe = Workspace(settings.output, settings.work).folder / "writable"
        write_atomic(probe, b"")
        probe.unlink()
        return f"{settings.output} can be written, and holds no shards of other settings"

    def installed() -> str:
        check_installed(settings)
        return f"packages are installed; ffmpeg {ffmpeg_version()}"

    def models() -> str:
        check_models(settings.answer, settings.mask)
        return "models are here, or in the hub's reach"

    checks: list[Callable[[], str]] = [installed, models, source, output]
    fine = True
    for check in checks:
        try:
            say(f"ok       {check()}")
        except (ValueError, OSError) as error:
            fine = False
            say(f"PROBLEM  {error}")
    return fine


def plan(settings: CurationSettings, address: str, sample: int) -> dict[str, float]:
    """Take a sample through the run's stages and say what the rest would take; return the figures.

    Returns:
        for each input: `seconds.<stage>`, `cpu_seconds`, `gpu_seconds`; `kept_share`; `bytes_per_kept_clip`; and for
        all that is left to do: `cpu_hours`, `gpu_hours`, `gigabytes`.
    """
    check_installed(settings)
    check_models(settings.answer, settings.mask)
    workspace = Workspace(settings.output, settings.work)
    everything = list_inputs(settings)
    chosen = everything[:: max(1, len(everything) // sample)][:sample]
    run = begin(workspace.runs, settings.result_sha256())
    states, done, todo = find_work(chosen, settings, address, run)
    say(f"taking {len(states)} clips of {len(chosen)} inputs through the stages; what comes of them stays")
    if todo:
        done += run_on_ray(todo, settings, address, run)[0]
    left = len(everything) * len(states) / len(chosen) - len(done)
    figures = _figures(done, settings, workspace, max(0.0, left))
    for name in STAGES:
        wanted = getattr(settings.engine, name)
        seconds = figures[f"seconds.{name}"]
        say(f"  {name:10s} {seconds:8.3f} s an input, on {wanted.num_cpus:g} CPU and {wanted.num_gpus:g} GPU")
    say(f"{figures['kept_share']:.0%} kept, {figures['bytes_per_kept_clip'] / 1e6:.2f} MB each")
    say(
        f"{left:.0f} left: {figures['cpu_hours']:.2f} CPU-hours, {figures['gpu_hours']:.2f} GPU-hours, "
        f"{figures['gigabytes']:.2f} GB of shards, and as much again while they are packed"
    )
    engine = settings.engine
    price = figures["cpu_hours"] * engine.price_per_cpu_hour + figures["gpu_hours"] * engine.price_per_gpu_hour
    say(
        f"in money: {price:.2f}" if price else "set engine.price_per_cpu_hour and price_per_gpu_hour to see it in money"
    )
    return figures


def _figures(
    done: Sequence[ClipState], settings: CurationSettings, workspace: Workspace, left: float
) -> dict[str, float]:
    count = max(1, len(done))
    kept = [state for state in done if state.status == Status.KEPT]
    figures = {f"seconds.{name}": sum(state.seconds.get(name, 0.0) for state in done) / count for name in STAGES}
    figures["cpu_seconds"] = sum(
        figures[f"seconds.{name}"] * getattr(settings.engine, name).num_cpus for name in STAGES
    )
    figures["gpu_seconds"] = sum(
        figures[f"seconds.{name}"] * getattr(settings.engine, name).num_gpus for name in STAGES
    )
    figures["kept_share"] = len(kept) / count
    samples = workspace.samples()
    sizes = [samples[state.row_id] for state in kept if state.row_id in samples]
    figures["bytes_per_kept_clip"] = sum(sizes) / len(sizes) if sizes else 0.0
    figures["cpu_hours"] = figures["cpu_seconds"] * left / 3600
    figures["gpu_hours"] = figures["gpu_seconds"] * left / 3600
    figures["gigabytes"] = figures["bytes_per_kept_clip"] * figures["kept_share"] * left / 1e9
    return figures


def status(output: Path, work: Path | None = None) -> dict[str, int]:
    """Say how far the runs into an output folder have come, without disturbing them."""
    workspace = Workspace(output, work)
    outcomes = workspace.outcomes()
    runs = past_runs(workspace.runs)
    if not runs:
        raise ValueError(f"{output} has seen no run yet")
    for past in runs[-3:]:
        state = f"finished after {duration(past['result']['wall_seconds'])}" if "result" in past else "not finished"
        say(f"run {past['number']}, begun {past['started']} on {past['host']} (process {past['pid']}): {state}")
    if "result" not in runs[-1] and "progress" in runs[-1]:
        say(f"last heard of at {runs[-1]['progress']['at']}: {runs[-1]['progress']['line']}")
    packed = sum(load_shard_list(output).num_samples) if (output / SHARD_LIST).is_file() else 0
    say(f"{len(outcomes)} outcomes are committed, {packed} clips are in shards")
    return {"outcomes": len(outcomes), "packed": packed}
