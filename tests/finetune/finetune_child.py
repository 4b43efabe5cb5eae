"""A fake training process: it writes the events of a run, but trains nothing.

Its arguments are those of `napari_colorize_training finetune`. It takes a step every few
milliseconds until it receives a command or has taken `--steps` steps.
"""

import json
import shutil
import sys
import time
from pathlib import Path

MANY = 100_000
STEP_SECONDS = 0.005


def option(name: str, default: str = "") -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def emit(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)  # noqa: T201


def main() -> int:
    run, steps = Path(option("--run")), int(option("--steps", str(MANY)))
    images = [path for folder in sys.argv[sys.argv.index("--") + 1 :] for path in pngs(folder)]
    emit("note", text=f"{len(images)} images are used.")
    if not images:
        emit("error", text="There are no training images.")
        return 1
    state = run / "state.txt"
    step = int(state.read_text()) if state.exists() else 0
    emit("start", steps=steps, step=step, stages=["1"], run=str(run))
    validate(step)
    command, previous = "", ""
    while step < steps and command != "finish":
        time.sleep(STEP_SECONDS)
        command = Path(option("--control")).read_text()
        if command == "pause":
            if previous != "pause":
                emit("paused", step=step)
        else:
            step += 1
            losses = {"G": 1 / step}
            emit("step", step=step, steps=steps, stage="1", losses=losses, seconds_left=9.0)
        previous = command
        save(step, state)
        if command == "stop":
            emit("stopped", step=step)
            return 130
    validate(step)
    shutil.copyfile(option("--from"), option("--out"))
    before, after = score(20.0), score(8.0)
    text = f"{Path(option('--out')).stem} is better than its base."
    emit("finetuned", improved=True, outcome="better", text=text, before=before, after=after)
    emit("done", model=option("--out"))
    return 0


def save(step: int, state: Path) -> None:
    """Write the state atomically."""
    part = state.with_suffix(".part")
    part.write_text(str(step))
    part.replace(state)


def pngs(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.png"))


def validate(step: int) -> None:
    error = 20.0 if not step else 8.0
    figures = {"ciede2000": error, "ciede2000_gray": 12.0, "measure": error / 12}
    emit("validation", step=step, **{f"validation_{name}": x for name, x in figures.items()})


def score(error: float) -> dict[str, float]:
    return {"images": 3, "ciede2000": error, "ciede2000_gray": 12.0}


if __name__ == "__main__":
    sys.exit(main())
