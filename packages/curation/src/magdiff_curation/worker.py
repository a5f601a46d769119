"""What runs in a worker process: a few stages in a row, and the commit of every clip that they decide.

A worker computes its own stages; what comes after them it takes from memory where it is remembered. So a run in
which only a rule has changed never leaves its first workers, and loads no model.
"""

from __future__ import annotations

import os

from magdiff_curation.canonical import canonical_clip
from magdiff_curation.commit import Workspace, commit, committed
from magdiff_curation.config import CurationSettings
from magdiff_curation.memo import Memo
from magdiff_curation.reasons import ClipRejected
from magdiff_curation.runs import Run
from magdiff_curation.shots import ShotFinder
from magdiff_curation.stage_runs import run_stages
from magdiff_curation.stages import STAGES, next_stage
from magdiff_curation.state import ClipState

SHOTS = "shots"


class StageWorker:
    """Stages, each built once; their models load when they are first needed."""

    def __init__(
        self, names: tuple[str, ...], settings: CurationSettings, run: Run | None = None, num_gpus: float = 0.0
    ) -> None:
        """Prepare to compute the stages `names`, to commit for `run` (without one, nothing is committed)."""
        self.names, self.settings, self.run, self.num_gpus = names, settings, run, num_gpus
        self.workspace = Workspace(settings.output, settings.work)
        self.memo = Memo(self.workspace.results, {name: settings.stage_sha256(name) for name in STAGES})
        self.stages = {name: stage(settings) for name, stage in STAGES.items()}
        self.find_shots = ShotFinder(settings) if SHOTS in names else None

    def ready(self) -> None:
        """Answer, once this has started as a Ray worker."""
        if not self.num_gpus:  # Ray leaves all GPUs in sight of workers that reserve none
            os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def work(self, texts: list[str]) -> list[str]:
        """Take clips, as JSON, as far as they get here, and return them as JSON."""
        states = [ClipState.from_json(text) for text in texts]
        if self.find_shots is not None:
            for state in states:
                self.find_shots(state)
            return [state.to_json() for state in states]
        run_stages(self.stages, states, self.memo, self.names, self.num_gpus)
        for number, state in enumerate(states):
            if self.run is not None and (state.status or next_stage(state) is None):
                self.run.check()
                states[number] = self._commit(state)
        return [state.to_json() for state in states]

    def _commit(self, state: ClipState) -> ClipState:
        if not state.status:
            try:
                canonical_clip(state, self.settings)  # where all was remembered, the clip itself is not there
            except ClipRejected as rejection:
                state.reject(rejection.reason, rejection.detail)
        try:
            commit(self.workspace, state)
        except FileNotFoundError:
            # A worker that outlived its driver had the same clip in hand, committed it, and cleared its files away.
            past = committed(self.workspace, state)
            if past is None:
                raise
            return past
        return state
