"""The samplers of diffusers and of k-diffusion behind the interface of `cases.Solver`.

Both are used as their documentation shows, with the same denoiser and the same unit noise as
inkdrop, scaled as each scheduler expects. These schedulers of diffusers are left out: those for
other purposes (consistency models LCM, TCD, CM, SCM and FlowMatchLCM; tokens; inversion;
inpainting; single models); IPNDM, which is fixed to a different process; ScoreSdeVe and KarrasVe,
which are deprecated; copies of DDIM and DDPM (Parallel, CogVideoX, UnCLIP).
"""

from __future__ import annotations

from benchmarks.solvers.cases import Solver
from benchmarks.solvers.peers.diffusers import diffusers_solvers
from benchmarks.solvers.peers.k_diffusion import k_solvers
from inkdrop.diffusion.process import Process


def peers(process: Process, *, fresh: bool) -> list[Solver]:
    """All solvers of both libraries for the process."""
    both = [*diffusers_solvers(process, fresh=fresh), *k_solvers(process, fresh=fresh)]
    return list({solver.name: solver for solver in both}.values())
