"""What users of other programs type: second names of options, and where to find the rest.

`SAME` are further names for an option of a command, understood wherever the command has that
option. `ELSEWHERE` says in a sentence what to do for an option that means something else here or
does not exist. Dashes and underscores are the same.
"""

from __future__ import annotations

from collections.abc import Mapping

TRAINING = ("train", "distill", "check")

_IMG2IMG = (
    "starting from a picture is not here yet; `inkdrop edit` and `inkdrop inpaint` change one, with"
    " a model trained for it"
)
_UPSCALE = "upscaling is not here yet; --size makes larger pictures with a model of any size"
_PAGE = "a page and a server are not here yet; every command works in a terminal or from Python"
_LORA = (
    "training a LoRA is not here yet; `inkdrop generate --lora FILE` uses one, and `inkdrop train`"
    " trains a model of its own"
)
_MEMORY = "memory is managed without options; --half keeps weights in half precision"
_DATA = "the data is the first argument, as in: inkdrop train ./photos"
_RESUME = "run the same command again; it resumes exactly where it stopped"
_EPOCHS = (
    "training is counted in updates of --batch samples, not in epochs; give --updates, or --minutes"
)

# name elsewhere: option here
SAME: dict[str, str] = {
    "cfg-scale": "guidance", "guidance-strength": "guidance", "ddim-steps": "steps",
    "num-steps": "steps", "sampling-steps": "steps", "inference-steps": "steps",
    "sample-steps": "steps", "ddim-eta": "eta", "sampler-name": "sampler",
    "sampling-method": "sampler", "sample-method": "sampler", "neg-prompt": "negative",
    "n-prompt": "negative", "uncond": "negative", "schedule-type": "grid",
    "timestep-spacing": "grid", "num-images": "count", "num-images-per-prompt": "count",
    "num-samples": "count", "n-samples": "count", "samples": "count", "batch-count": "count",
    "num": "count",
    "output": "out", "output-file": "out", "output-path": "out", "outfile": "out", "save": "out",
    "ckpt": "model", "checkpoint": "model", "ckpt-path": "model", "model-path": "model",
    "model-id": "model", "model-name": "model", "base-model": "model", "sd-model": "model",
    "pretrained-model": "model", "pretrained-model-name-or-path": "model", "loras": "lora",
    "lora-path": "lora", "lora-weights": "lora", "embeddings": "embedding",
    "textual-inversion": "embedding", "controlnet": "control", "control-net": "control",
    "control-image": "hint", "controlnet-image": "hint",
    "controlnet-conditioning-scale": "control-scale", "controlnet-scale": "control-scale",
    "control-weight": "control-scale", "image-guidance-scale": "picture-guidance",
    "image-cfg": "picture-guidance", "guidance-rescale": "rescale", "fp16": "half",
    "half-precision": "half", "class": "label", "classes": "label", "class-label": "label",
    "labels": "label", "styles": "style", "num-frames": "frames", "random-seed": "seed",
    "manual-seed": "seed", "last-layers": "clip-skip", "vae-path": "vae",
}  # fmt: skip

# the same for commands that train, where some words mean other things
SAME_IN_TRAINING: dict[str, str] = {
    "learning-rate": "lr", "train-batch-size": "batch", "batch-size": "batch",
    "total-batch-size": "batch", "max-train-steps": "updates", "max-steps": "updates",
    "total-steps": "updates", "train-steps": "updates", "train-num-steps": "updates",
    "num-steps": "updates", "steps": "updates", "iterations": "updates", "iters": "updates",
    "resolution": "size",
    "image-size": "size", "img-size": "size", "output-dir": "out", "outdir": "out",
    "out-dir": "out", "save-dir": "out", "run-dir": "out", "results-folder": "out",
    "lr-warmup-steps": "warmup", "warmup-steps": "warmup", "num-warmup-steps": "warmup",
    "adam-weight-decay": "weight-decay", "max-grad-norm": "clip-norm", "grad-clip": "clip-norm",
    "gradient-clip-val": "clip-norm", "checkpointing-steps": "save-every",
    "save-steps": "save-every", "save-interval": "save-every", "save-every-n-steps": "save-every",
    "save-and-sample-every": "save-every", "random-flip": "flip", "horizontal-flip": "flip",
    "ema-decay": "ema", "ema-rate": "ema", "ema-max-decay": "ema", "prediction-type": "predict",
    "beta-schedule": "process", "noise-schedule": "process", "caption-column": "caption",
    "image-column": "image", "class-drop-prob": "condition-drop", "loss-type": "loss",
    "cond-drop-prob": "condition-drop", "max-train-time": "minutes", "model-channels": "width",
}  # fmt: skip

# names elsewhere: what to do here
ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(("strength", "denoising-strength", "init-img", "init-image", "image", "img",
                     "input-image", "input", "img2img"), _IMG2IMG),
    **dict.fromkeys(("hires", "hires-fix", "enable-hr", "hr-scale", "hr-upscaler", "upscale",
                     "upscaler", "upscale-by", "outscale"), _UPSCALE),
    **dict.fromkeys(("share", "listen", "port", "host", "api", "gradio", "server"), _PAGE),
    **dict.fromkeys(("xformers", "medvram", "lowvram", "opt-split-attention", "attention-slicing",
                     "enable-attention-slicing", "cpu-offload", "enable-model-cpu-offload",
                     "vae-tiling", "enable-vae-tiling", "opt-sdp-attention"), _MEMORY),
    **dict.fromkeys(("lora-scale", "lora-weight", "lora-strength", "lora-alpha"),
                    "a LoRA's strength stands behind its file, as in: --lora boat.safetensors:0.8"),
    **dict.fromkeys(("plms", "ddim", "dpm-solver", "euler", "euler-a", "lms"),
                    "a sampler is chosen by name, as in: --sampler ddim"),
    **dict.fromkeys(("karras", "use-karras-sigmas", "exponential"),
                    "the spacing of steps is chosen by name, as in: --grid karras"),
    **dict.fromkeys(("scheduler", "schedule", "noise-scheduler"),
                    "say --sampler for an algorithm, such as dpmpp_2m, or --grid for the spacing of"
                    " its steps, such as karras"),
    **dict.fromkeys(("safety-checker", "nsfw", "no-safety-checker", "disable-safety-checker"),
                    "there is no safety checker here, so there is nothing to switch"),
    **dict.fromkeys(("tiling", "seamless"), "pictures whose edges meet are not available here"),
    **dict.fromkeys(("restore-faces", "gfpgan", "codeformer", "face-restore"),
                    "repairing faces is not available here"),
    **dict.fromkeys(("subseed", "variation-seed", "variation-amount", "variation-strength"),
                    "a blend of two seeds is not available here; `inkdrop interpolate --seeds 3 7`"
                    " walks between them"),
    **dict.fromkeys(("seed-resize-from-w", "seed-resize-from-h", "ensd"),
                    "noise is a function of --seed and the number of the sample alone"),
    **dict.fromkeys(("refiner", "refiner-switch-at"),
                    "a refiner cannot go on from another model's picture here; it is a model for"
                    " --model"),
    **dict.fromkeys(("from-file", "prompt-file", "prompts-file"),
                    "one command takes one prompt; a loop in the shell or in Python takes many"),
    **dict.fromkeys(("skip-grid", "skip-save", "separate", "individual"),
                    "a name with %d writes a file for each sample, as in: -o pic_%d.png"),
    **dict.fromkeys(("cuda", "gpu", "gpus", "gpu-id", "use-cpu", "cpu"),
                    "choose a device with --device cpu, cuda or cuda:1"),
    **dict.fromkeys(("quiet", "silent"),
                    "progress is shown on standard error; redirect that with 2>/dev/null"),
    **dict.fromkeys(("data-dir", "train-data-dir", "dataset-name", "dataset", "input-dir"), _DATA),
    **dict.fromkeys(("resume", "resume-from-checkpoint", "resume-from", "continue"), _RESUME),
}  # fmt: skip
ELSEWHERE_IN_MAKING: dict[str, str] = {
    **dict.fromkeys(("batch-size", "n-iter", "train-batch-size"),
                    "--count is how many samples are made, and --batch how many at a time"),
    **dict.fromkeys(("outdir", "output-dir", "out-dir", "save-dir"),
                    "-o names a file, as in: -o pictures/boat.png, or pictures/boat_%d.png for a"
                    " file each"),
    "model": "the model is the first argument, as in: inkdrop {command} runs/photos",
    "prompt": 'the prompt is an argument, as in: inkdrop {command} PICTURE "a boat" --model MODEL',
    "resolution": "say --size 512x768, height first",
    "width": "this command makes the size of its picture or model",
    "height": "this command makes the size of its picture or model",
    "size": "this command makes the size of its picture or model",
    "mask": 'the mask is an argument, as in: inkdrop inpaint PICTURE MASK "a boat" --model MODEL',
    "output-format": "the end of the file's name chooses the format, as in: -o boat.webp",
    "format": "the end of the file's name chooses the format, as in: -o boat.webp",
}  # fmt: skip
ELSEWHERE_IN_TRAINING: dict[str, str] = {
    **dict.fromkeys(("num-train-epochs", "epochs", "num-epochs", "max-epochs", "n-epochs"),
                    _EPOCHS),
    **dict.fromkeys(("gradient-accumulation-steps", "gradient-accumulate-every", "grad-accum",
                     "accumulate-grad-batches"),
                    "--batch is the whole batch of an update, and --accumulate the number of parts"
                    " into which it is split to save memory"),
    **dict.fromkeys(("mixed-precision", "amp", "bf16", "fp16", "dtype"),
                    "say --precision bfloat16, float32 or auto"),
    **dict.fromkeys(("pretrained-model-name-or-path", "ckpt", "checkpoint", "base-model", "model",
                     "finetune", "unet"),
                    "training starts from new weights; fine-tuning another model is not here yet"),
    **dict.fromkeys(("rank", "network-dim", "network-alpha", "network-module", "lora-rank"), _LORA),
    **dict.fromkeys(("report-to", "logging-dir", "log-with", "wandb", "use-wandb"),
                    "numbers are written to metrics.jsonl in the run, and with --tensorboard also"
                    " for TensorBoard"),
    **dict.fromkeys(("lr-scheduler", "lr-scheduler-type"),
                    "the learning rate rises over --warmup updates, stays, and falls over the last"
                    " --cooldown share"),
    **dict.fromkeys(("optimizer", "use-8bit-adam", "optimizer-type", "adam-beta1", "adam-beta2",
                     "adam-epsilon"),
                    "the optimizer is AdamW, with --lr, --betas and --weight-decay"),
    **dict.fromkeys(("gradient-checkpointing", "enable-xformers-memory-efficient-attention",
                     "allow-tf32", "dataloader-num-workers", "num-workers", "pin-memory"),
                    "this is managed without an option; --accumulate saves memory"),
    **dict.fromkeys(("center-crop", "random-crop"),
                    "pictures are scaled to cover the size and cropped to their centre; see"
                    " `inkdrop train --help` for the ways to prepare them"),
    **dict.fromkeys(("snr-gamma", "min-snr-gamma"), "say --loss min_snr"),
    **dict.fromkeys(("use-ema",), "averaged weights are always kept; --ema is their decay"),
    **dict.fromkeys(("num-gpus", "multi-gpu", "num-processes", "nproc-per-node"),
                    "start several processes, as in: torchrun --nproc-per-node 2 -m inkdrop train"
                    " ./photos"),
    **dict.fromkeys(("timesteps", "num-timesteps", "diffusion-steps", "num-train-timesteps"),
                    "the table has 1000 noise levels; --process chooses another schedule"),
    **dict.fromkeys(("validation-prompt", "sample-prompt", "num-validation-images"),
                    "a sheet of samples is drawn while it trains, without an option"),
    **dict.fromkeys(("class-cond", "num-classes"),
                    "classes come from the data: its sub-folders or labels"),
    **dict.fromkeys(("prompt", "instance-prompt", "instance-data-dir"),
                    "captions come with the data, as .txt files beside the pictures; fine-tuning on"
                    " a few pictures is not here yet"),
}  # fmt: skip

# Of these, the arguments that a command must have for the sentence to be true.
ARGUMENTS = {"model": {"run", "model"}, "prompt": {"prompt", "words"}, "mask": {"words"}}

# A value that belongs to another option.
VALUES = {"--scale": " It enlarges the picture; the strength of guidance is --guidance."}

# Words instead of a command.
COMMANDS: dict[str, str] = {
    **dict.fromkeys(("txt2img", "text2img", "text-to-image", "t2i", "imagine", "draw", "make",
                     "create", "dream", "predict", "infer", "inference", "run", "render"),
                    'use: inkdrop generate "a red heart"'),
    **dict.fromkeys(("img2img", "i2i", "image-to-image"), _IMG2IMG),
    **dict.fromkeys(("upscale", "hires", "superres", "super-resolution"), _UPSCALE),
    **dict.fromkeys(("ui", "webui", "gui", "serve", "server", "web", "app", "gradio"), _PAGE),
    **dict.fromkeys(("finetune", "fine-tune", "lora", "train-lora", "dreambooth"), _LORA),
    **dict.fromkeys(("resume", "continue"), _RESUME.replace("command", "`inkdrop train` command")),
    **dict.fromkeys(("test", "eval", "validate", "benchmark", "fid", "score"),
                    "use: inkdrop evaluate RUN"),
    **dict.fromkeys(("list", "ls", "models"),
                    "`inkdrop info NAME` describes a model, `inkdrop samplers` lists samplers, and"
                    " your own models are the folders in runs"),
    **dict.fromkeys(("download", "pull", "install", "get"),
                    "a model of the Hub is fetched when it is named, as in: --model hf:ORG/NAME"),
    **dict.fromkeys(("describe", "show", "inspect", "pnginfo", "png-info", "metadata"),
                    "use: inkdrop info FILE"),
    **dict.fromkeys(("export", "import"), "use: inkdrop convert MODEL OUT"),
    **dict.fromkeys(("fit", "learn"), "use: inkdrop train ./photos"),
    **dict.fromkeys(("animate", "video", "walk", "morph"),
                    'use: inkdrop interpolate --prompts "cat face" "lion"'),
    **dict.fromkeys(("outpaint", "fill"), "use: inkdrop inpaint PICTURE MASK PROMPT"),
    **dict.fromkeys(("help",), "use: inkdrop --help, or inkdrop COMMAND --help"),
    **dict.fromkeys(("version",), "use: inkdrop --version"),
}  # fmt: skip


def dashed(name: str) -> str:
    """An option's name with dashes for underscores."""
    return name.replace("_", "-")


def same(command: str, long: set[str]) -> Mapping[str, str]:
    """The second names of a command's options: to those that it has."""
    table = SAME | SAME_IN_TRAINING if command in TRAINING else SAME
    return {name: ours for name, ours in table.items() if ours in long and name not in long}


def elsewhere(command: str) -> Mapping[str, str]:
    """What to do for options that a command does not have."""
    more = ELSEWHERE_IN_TRAINING if command in TRAINING else ELSEWHERE_IN_MAKING
    return ELSEWHERE | more
