"""The public names: listed once, all there, and cheap to import."""

from __future__ import annotations

import subprocess
import sys

import inkdrop


def test_every_listed_name_exists_and_lives_where_it_says() -> None:
    for name in inkdrop.__all__:
        assert getattr(inkdrop, name) is not None
    assert {"Process", "Model", "Step", "Cond", "cfg", "ddim", "generate"} <= set(dir(inkdrop))


def loaded(code: str) -> set[str]:
    show = "import sys; print(*sys.modules)"
    run = [sys.executable, "-c", f"{code}; {show}"]
    return set(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())


def test_help_does_not_import_torch() -> None:
    modules = loaded("import inkdrop.cli")
    assert not modules & {"torch", "numpy", "PIL", "pydantic", "rich"}


def test_public_names_pull_in_no_optional_library() -> None:
    modules = loaded("import inkdrop; [getattr(inkdrop, n) for n in inkdrop.__all__]")
    assert not modules & {"sklearn", "pyarrow", "matplotlib", "PIL", "rich", "transformers"}


def test_options_load_neither_torch_nor_numpy() -> None:
    light = ("data.options", "train.config", "train.request", "train.evaluation")
    light += ("train.aims.distill_config", "train.aims.latent_config")
    modules = loaded("; ".join(f"import inkdrop.{name}" for name in light))
    assert not modules & {"torch", "numpy", "PIL", "pydantic", "rich"}
