"""The samplers of diffusers and of k-diffusion behind the interface of `cases.Solver`.

Both are driven as their documentation shows, with the same denoiser and from the same unit noise as
inkdrop; the start is what each of their schedulers expects of it. Left out of diffusers, because
they are for something else: consistency models (LCM, TCD, CM, SCM, FlowMatchLCM), tokens,
inversion, inpainting and single models' own schedulers; IPNDM, whose process is fixed and another;
ScoreSdeVe and KarrasVe, deprecated; copies of DDIM and DDPM (Parallel, CogVideoX, UnCLIP).
"""

from __future__ import annotations

from benchmarks.solvers.cases import Solver
from benchmarks.solvers.peers.diffusers import diffusers_solvers
from benchmarks.solvers.peers.k_diffusion import k_solvers
from inkdrop.diffusion.process import Process


def peers(process: Process, *, fresh: bool) -> list[Solver]:
    """All that both libraries have for the process."""
    both = [*diffusers_solvers(process, fresh=fresh), *k_solvers(process, fresh=fresh)]
    return list({solver.name: solver for solver in both}.values())
