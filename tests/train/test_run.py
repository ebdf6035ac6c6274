"""A run resumes to the bit, refuses what does not fit, and never starts afresh in silence."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from inkdrop import runs
from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data
from inkdrop.events import Note
from inkdrop.model import Model
from inkdrop.train.aim import Aim
from inkdrop.train.config import TrainConfig
from inkdrop.train.events import Event, Saved
from inkdrop.train.feed import HeldOut
from inkdrop.train.objective import Batch, losses
from inkdrop.train.parallel import World
from inkdrop.train.preview import sampled
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.source import data_of
from inkdrop.train.turn import Turn
from inkdrop.train.updates import Update

CPU = torch.device("cpu")
SCRIPT = Path(__file__).parents[1] / "support" / "killed_run.py"


def run(
    data: Dataset, out: Path, asked: TrainRequest, stop: threading.Event | None = None
) -> list[Event]:
    return list(train(data, out, asked, world=World(device=CPU, stop=stop or threading.Event())))


def tensors(out: Path, update: int) -> dict[str, torch.Tensor]:
    folder = out / "checkpoints" / f"{update:08d}"
    return {
        f"{file.relative_to(folder)}:{name}": value.clone()  # the file is mapped, not read
        for file in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(file).items()
    }


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_killed_run_resumes_to_the_bit(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    asked = tiny.ask(updates=40, flip=True)
    run(data, tmp_path / "whole", asked)
    killed = subprocess.run([sys.executable, SCRIPT, tmp_path, tmp_path / "killed"], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    newest, _ = runs.newest_checkpoint(tmp_path / "killed")
    assert newest is not None
    assert newest.name == "00000024"
    events = run(data, tmp_path / "killed", asked)
    assert isinstance(events[0], Note) and "its lock is taken over" in events[0].text
    first = next(event for event in events if isinstance(event, Update))
    assert first.index == 24
    assert equal(tensors(tmp_path / "whole", 40), tensors(tmp_path / "killed", 40))
    whole, killed_log = (
        [
            {k: v for k, v in json.loads(line).items() if k != "seconds"}
            for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        ]
        for name in ("whole", "killed")
    )
    assert whole == killed_log


def test_stop_finishes_the_update_saves_and_says_so(tmp_path: Path) -> None:
    data, stop = tiny.data(tmp_path), threading.Event()
    asked = dataclasses.replace(tiny.ask(), save_every=None)
    events = []
    for event in train(data, tmp_path / "run", asked, world=World(device=CPU, stop=stop)):
        events.append(event)
        if isinstance(event, Update) and event.index == 2:
            stop.set()
    assert any(isinstance(e, Saved) and e.path.name == "00000003" for e in events)
    assert isinstance(events[-1], Note)
    assert "stopped after update 3" in events[-1].text


def entries(out: Path) -> list[dict[str, Any]]:
    """The log of a run without the seconds."""
    lines = (json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


@pytest.mark.parametrize("where", ["picture", "validation"])
def test_a_stop_in_a_preview_leaves_it_and_the_next_start_makes_it(
    tmp_path: Path, where: str
) -> None:
    data, stop, calls = tiny.data(tmp_path), threading.Event(), list[str]()

    def stopping(name: str) -> None:
        calls.append(name)
        if name == where and calls.count(name) == 3:
            stop.set()

    def picture(model: Model, held: HeldOut | None) -> Image.Image | None:
        stopping("picture")
        drawn = sampled(model, held)
        assert not stop.is_set(), "the sampler went on to its end"
        return drawn

    def objective(model: Model, config: TrainConfig, batch: Batch, turn: Turn) -> Tensor:
        if turn.held_out:
            stopping("validation")
        return losses(model, config, batch, turn)

    out, asked = tmp_path / "cut", tiny.ask(flip=True)
    aim = Aim(objective, picture=picture)
    events = list(train(data, out, asked, aim=aim, world=World(device=CPU, stop=stop)))
    assert isinstance(events[-1], Note) and "stopped after update 3" in events[-1].text
    assert [path.name for path in runs.checkpoints(out)] == ["00000003"]
    assert not (out / "samples" / "00000003.png").exists()
    assert [entry["update"] for entry in entries(out) if "validation" in entry] == [1, 2]
    run(data, out, asked)
    run(data, tmp_path / "whole", asked)
    assert equal(tensors(out, 8), tensors(tmp_path / "whole", 8))
    assert entries(out) == entries(tmp_path / "whole")
    for drawn in (tmp_path / "whole" / "samples").iterdir():
        assert drawn.read_bytes() == (out / "samples" / drawn.name).read_bytes()


def test_a_stop_between_the_parts_of_a_batch_leaves_the_update(tmp_path: Path) -> None:
    data, stop = tiny.data(tmp_path), threading.Event()

    def objective(model: Model, config: TrainConfig, batch: Batch, turn: Turn) -> Tensor:
        if turn.update == 5 and turn.rows.start == 2:
            stop.set()
        assert turn.update < 5 or turn.rows.start <= 2, "the rest of the batch was computed"
        return losses(model, config, batch, turn)

    out, asked = tmp_path / "run", tiny.ask(accumulate=4)
    aim = Aim(objective, picture=lambda model, held: None)
    list(train(data, out, asked, aim=aim, world=World(device=CPU, stop=stop)))
    assert [path.name for path in runs.checkpoints(out)] == ["00000004", "00000005"]
    for folder in (out, tmp_path / "whole"):
        quick = dataclasses.replace(aim, objective=losses)
        list(train(data, folder, asked, aim=quick, world=World(device=CPU)))
    assert equal(tensors(out, 8), tensors(tmp_path / "whole", 8))


def test_lines_of_the_log_that_are_damaged_or_not_ours_do_not_end_a_run(tmp_path: Path) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    run(data, out, tiny.ask())
    log, want = out / "metrics.jsonl", entries(out)  # its last line is that of final.png
    first, *rest = log.read_bytes().splitlines(keepends=True)
    strange = (
        b'{"note": "mine"}\n3\n\xff\xfe\n\0\0\0\n{"update": "x"}\n' + b"[" * 99_999 + b'\n{"upd'
    )
    log.write_bytes(first + strange + b"\n" + b"".join(rest) + b'{"update": 9, "lo')
    shutil.rmtree(out / "checkpoints" / "00000008")
    run(data, out, tiny.ask())
    lines = log.read_bytes().splitlines()
    assert lines[1:4] == [b'{"note": "mine"}', b"3", b'{"update": "x"}']
    del lines[1:4]
    found = [json.loads(line) for line in lines]
    assert [{k: v for k, v in one.items() if k != "seconds"} for one in found] == want[:-1]


def test_a_second_training_in_the_folder_leaves_and_harms_nothing(tmp_path: Path) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    first = train(data, out, tiny.ask(), world=World(device=CPU))
    made = [next(event for event in first if isinstance(event, Saved))]
    half = out / "checkpoints" / ".00000008.01234567.partial"  # as the first one is writing it
    half.mkdir()
    with pytest.raises(ValueError, match=r"run is being written to by process .* \(training"):
        run(data, out, tiny.ask())
    assert half.is_dir()
    half.rmdir()
    made += [event for event in first if isinstance(event, Saved)]
    assert [event.path.name for event in made] == ["00000004", "00000008"]
    run(data, tmp_path / "whole", tiny.ask())
    assert equal(tensors(out, 8), tensors(tmp_path / "whole", 8))
    assert not (out / "lock").exists()


def test_another_configuration_or_other_data_is_refused(tmp_path: Path) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    run(data, out, tiny.ask())
    with pytest.raises(ValueError, match=r"started with lr 0\.001, not 0\.002.*--out"):
        run(data, out, tiny.ask(lr=0.002))
    with pytest.raises(ValueError, match="a run on other data"):
        run(tiny.data(tmp_path, 40), out, tiny.ask())
    assert [e for e in run(data, out, tiny.ask()) if isinstance(e, Update)] == []


@pytest.mark.parametrize("harm", ["missing", "truncated", "flipped"])
def test_damaged_checkpoint_falls_back_and_says_so(tmp_path: Path, harm: str) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    run(data, out, tiny.ask())
    want = tensors(out, 8)
    file = out / "checkpoints" / "00000008" / "training" / "optimizer.safetensors"
    content = bytearray(file.read_bytes())
    if harm == "missing":
        file.unlink()
    elif harm == "truncated":
        file.write_bytes(content[:-10])
    else:
        content[-5] ^= 1
        file.write_bytes(content)
    events = run(data, out, tiny.ask())
    notes = [e.text for e in events if isinstance(e, Note)]
    assert any("00000008 is damaged (training/optimizer.safetensors" in text for text in notes)
    assert next(e for e in events if isinstance(e, Update)).index == 4
    assert equal(tensors(out, 8), want)


def test_no_sound_checkpoint_is_an_error_and_nothing_is_lost(tmp_path: Path) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    run(data, out, tiny.ask())
    for folder in runs.checkpoints(out):
        (folder / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"every checkpoint in .* is damaged"):
        run(data, out, tiny.ask())
    assert len(runs.checkpoints(out)) == 2
    (out / "run.json").unlink()
    with pytest.raises(ValueError, match=r"checkpoints but no run\.json"):
        run(data, out, tiny.ask())


def test_full_disk_leaves_the_older_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    run(data, out, tiny.ask(updates=4))
    want = tensors(out, 4)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    shutil.rmtree(out / "samples")
    (out / "run.json").write_text(
        (out / "run.json").read_text().replace('"updates": 4', '"updates": 8')
    )
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match=r"the disk is full .*00000008 was not written"):
        run(data, out, tiny.ask(updates=8))
    assert equal(tensors(out, 4), want)
    assert [p.name for p in (out / "checkpoints").iterdir()] == ["00000004"]


def test_an_old_checkpoint_that_stays_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"

    def kept(path: Path, **how: object) -> None:
        if not how:  # temporary folders may go
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", kept)
    events = run(data, out, tiny.ask(updates=12))
    notes = [event.text for event in events if isinstance(event, Note)]
    assert [path.name for path in runs.checkpoints(out)] == ["00000004", "00000008", "00000012"]
    assert "00000004 could not be deleted (Permission denied)" in notes[-1]


@pytest.mark.skipif(os.name == "nt", reason="needs ulimit")
def test_a_file_that_may_not_grow_is_a_sentence_and_the_run_goes_on_later(tmp_path: Path) -> None:
    tiny.data(tmp_path)
    asked = f"{sys.executable} -m inkdrop train tiny.npz --width 8 --updates 2 --out run"
    refused = subprocess.run(
        ["bash", "-c", f"ulimit -f 64; {asked}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "no file may be this large here, so " in refused.stderr
    assert "checkpoints/00000002 was not written" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
    again = subprocess.run(asked.split(), cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert [path.name for path in runs.checkpoints(tmp_path / "run")] == ["00000002"]


def test_checkpoint_holds_a_model_folder_with_the_averaged_weights(tmp_path: Path) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    run(data, out, tiny.ask())
    model = Model.load(runs.own_folder(out)[0])
    averaged = load_file(out / "checkpoints" / "00000008" / "training" / "average.safetensors")
    assert all(torch.equal(v, averaged[k]) for k, v in model.network.state_dict().items())
    assert model.spec.labels == ("0", "1")
    assert len(list((out / "samples").glob("*.png"))) == 9
    with pytest.raises(ValueError, match="does not say where the data is"):
        data_of(out)


def test_minutes_are_turned_into_updates_once(tmp_path: Path) -> None:
    data, out, stop = tiny.data(tmp_path), tmp_path / "run", threading.Event()
    stop.set()
    asked = dataclasses.replace(tiny.ask(), minutes=0.01)
    run(data, out, asked, stop)
    planned = json.loads((out / "run.json").read_text())["config"]["updates"]
    assert planned >= 20
    run(data, out, asked, stop)
    assert json.loads((out / "run.json").read_text())["config"]["updates"] == planned


def test_a_run_older_than_an_option_resumes_with_its_default(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    list(train(data, tmp_path / "run", tiny.ask(updates=2)))
    file = tmp_path / "run" / "run.json"
    stored = json.loads(file.read_text())
    del stored["asked"]["config"]["log_noise_mean"], stored["config"]["log_noise_mean"]
    file.write_text(json.dumps(stored))
    assert not any(
        isinstance(event, Update) for event in train(data, tmp_path / "run", tiny.ask(updates=2))
    )
    with pytest.raises(ValueError, match="log_noise_mean"):
        list(train(data, tmp_path / "run", tiny.ask(updates=2, log_noise_mean=0.5)))


def test_a_training_that_diverged_stops_each_time_and_names_the_update(tmp_path: Path) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    asked = tiny.ask(updates=30, lr=1e30)
    places = []
    for _ in range(3):
        with pytest.raises(FloatingPointError, match=r"being update \d+ .*samples was not") as stop:
            run(data, out, asked)
        places.append(int(str(stop.value).split("being update ")[1].split()[0]))
        newest, _ = runs.newest_checkpoint(out)
        assert newest is not None and int(newest.name) == places[-1] + 1
    assert places == [places[0], places[0] + 1, places[0] + 2]
    logged = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    last = [entry for entry in logged if "loss" in entry][-1]
    assert last["update"] == places[-1] + 1 and not last["applied"]
    assert all(name.startswith("sample ") for name in last["broken"])


def test_a_preview_of_a_training_that_diverged_says_so_each_time(tmp_path: Path) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    for _ in range(2):
        with pytest.raises(FloatingPointError, match=r"after update 1 draw nothing.*lower lr"):
            run(data, out, tiny.ask(updates=4, lr=1e38))
        newest, _ = runs.newest_checkpoint(out)
        assert newest is not None and newest.name == "00000001"


UNSEEN = Aim(picture=lambda model, held: None)  # draws nothing, which takes longest here


def killed_in_a_save(data: Dataset, out: Path, call: int) -> bool:
    """Trains in a process that ends, without cleaning up, at a call of its second save.

    call: the number of the call, of those that write through to the disk or rename. False if the
    training was done before it came to that.
    """
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] != 0
    try:
        for event in train(data, out, tiny.ask(), aim=UNSEEN, world=World(device=CPU)):
            if isinstance(event, Saved) and event.path.name == "00000004":
                count = itertools.count(1)

                def ending(do: Callable[..., None], count: Iterator[int] = count) -> Any:
                    return lambda *paths: os._exit(1) if next(count) == call else do(*paths)

                os.fsync, os.replace = ending(os.fsync), ending(os.replace)
        os._exit(0)
    finally:
        os._exit(2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_during_a_save_loses_nothing(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    list(train(data, tmp_path / "whole", tiny.ask(), aim=UNSEEN, world=World(device=CPU)))
    want, found = tensors(tmp_path / "whole", 8), set[str]()
    for call in range(1, 60, 6):
        out = tmp_path / str(call)
        killed = killed_in_a_save(data, out, call)
        newest, said = runs.newest_checkpoint(out)
        assert newest is not None and not said
        found.add(newest.name)
        list(train(data, out, tiny.ask(), aim=UNSEEN, world=World(device=CPU)))
        assert equal(want, tensors(out, 8))
        assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["00000004", "00000008"]
        if not killed:
            break
    assert found == {"00000004", "00000008"} and call > 4


def test_a_run_is_not_data_and_not_a_part_of_data(tmp_path: Path) -> None:
    photos = tmp_path / "my photos"
    photos.mkdir()
    for number in range(20):
        Image.new("L", (8, 8), 10 * number).save(photos / f"{number}.png")
    before, out = open_data(photos), photos / "runs" / "x"
    source = {"path": str(photos), "options": {}}
    asked = tiny.ask(updates=2)
    asked = dataclasses.replace(asked, model={"network": {**tiny.NETWORK, "num_classes": None}})
    run(before, out, dataclasses.replace(asked, source=source))
    with pytest.raises(ValueError, match=r"is a run.*inkdrop train '.*my photos' --out '.*x'"):
        open_data(out)
    assert len(list((out / "samples").glob("*.png"))) > 0
    after = open_data(photos)
    assert len(after) == 20 and after.fingerprint == before.fingerprint
    moved = tmp_path / "elsewhere"
    photos.rename(moved)
    source = {"path": str(moved), "options": {}}
    run(open_data(moved), moved / "runs" / "x", dataclasses.replace(asked, source=source))
    assert len(data_of(moved / "runs" / "x")) == 20


def test_another_number_of_threads_is_told(tmp_path: Path) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    whole = tiny.ask(updates=8)
    stop = threading.Event()
    for event in train(data, out, whole, world=World(device=CPU, stop=stop)):
        if isinstance(event, Update) and event.index == 1:
            stop.set()
    torch.set_num_threads(2)
    try:
        notes = [event.text for event in run(data, out, whole) if isinstance(event, Note)]
    finally:
        torch.set_num_threads(1)
    assert any(note.startswith("threads 1 so far and 2 now: ") for note in notes)
    assert not any(" so far and " in e.text for e in run(data, out, whole) if isinstance(e, Note))
