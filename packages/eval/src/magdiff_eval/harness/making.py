"""Makes the videos of a run that are not there yet: one after the other here, or as a pipeline spreads them.

A video that cannot be made is a line of failed.jsonl with the reason, is tried again by the next run, and stops nothing
else. Whatever is killed loses the videos that it had in hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from magdiff_curation.clips.atomic import canonical_json, write_atomic
from magdiff_eval.baselines import Maker, Request
from magdiff_eval.harness.folder import RunFolder
from magdiff_eval.harness.makers import MagDiffMaker
from magdiff_eval.harness.shown import FindMasks, show
from magdiff_eval.layouts.item import Item

Made = Iterator[tuple[Item, str | None]]
"""Items as their videos are made, with why one cannot be."""
NewWorker = Callable[[], "Worker"]
Spread = Callable[[Sequence[Item], NewWorker], Made]
"""Makes items' videos in other processes, each with a worker of its own."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """All that makes one item's video."""

    maker: Maker
    folder: RunFolder
    num_frames: int
    find: FindMasks | None
    """Finds subjects; None: the maker takes whole frames."""

    def make(self, item: Item) -> str | None:
        """Make and keep an item's video; return why it cannot be made, or None."""
        begin = time.monotonic()
        try:
            shown = show(item, self.num_frames, self.find)
            request = Request(
                prompt=item.prompt,
                frames=shown.frames,
                masks=shown.masks,
                num_frames=self.num_frames,
                seed=item.seed,
            )
            video = self.maker.make(request)
        except (ValueError, OSError) as error:
            return str(error)
        if item.task == "edit" and shown.masks is not None and isinstance(self.maker, MagDiffMaker):
            self.folder.keep_framed(item, *self.maker.framed(shown.frames, shown.masks))
        why = shown.null_reason
        if (
            shown.masks is not None
            and isinstance(self.maker, MagDiffMaker)
            and not self.maker.inside(shown.masks).any()
        ):
            why = "nothing of it is in the middle square that the model sees"
        null = {"null_mask": why} if why else {}
        facts = {"seed": item.seed, "seconds": round(time.monotonic() - begin, 2), **null}
        self.folder.keep(item, video, shown, facts)
        return None


def make_videos(
    items: Sequence[Item], folder: RunFolder, new_worker: NewWorker, spread: Spread | None = None
) -> dict[str, str]:
    """Make what is missing, and return what could not be made: name -> why.

    Args:
        items: of the run.
        folder: where they go.
        new_worker: called once in every process that makes videos, so that models are loaded only where they are used.
        spread: None makes them here.
    """
    todo = [item for item in items if not folder.is_made(item)]
    print(f"{len(items)} videos, {len(items) - len(todo)} of them made by earlier runs", flush=True)
    if not todo:
        return {}
    failed, begin = dict[str, str](), time.monotonic()
    made = _here(todo, new_worker()) if spread is None else spread(todo, new_worker)
    try:
        for number, (item, why) in enumerate(made, start=1):
            if why is not None:
                failed[item.name] = why
            left = (time.monotonic() - begin) / number * (len(todo) - number)
            print(f"{number}/{len(todo)} videos made, {len(failed)} cannot be, {left:.0f} s left", flush=True)
    finally:
        lines = [{"name": name, "reason": why} for name, why in failed.items()]
        write_atomic(folder.failed, b"".join(canonical_json(line) + b"\n" for line in lines))
    return failed


def _here(items: Sequence[Item], worker: Worker) -> Made:
    for item in items:
        yield item, worker.make(item)
