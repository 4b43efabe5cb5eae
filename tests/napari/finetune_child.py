"""In place of the training: a process that speaks as it does, and learns nothing.

Its arguments are those of `napari_colorize_training finetune`. It takes a step every few
milliseconds until it is told to finish, or has taken `--steps` of them.
"""

import json
import shutil
import sys
import time
from pathlib import Path

MANY = 100_000
MOMENT = 0.005  # seconds: a step


def option(name: str, otherwise: str = "") -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else otherwise


def tell(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)  # noqa: T201


def main() -> int:
    run, steps = Path(option("--run")), int(option("--steps", str(MANY)))
    pictures = [path for folder in sys.argv[sys.argv.index("--") + 1 :] for path in pngs(folder)]
    tell("note", text=f"{len(pictures)} pictures are used.")
    if not pictures:
        tell("error", text="There is nothing to learn from.")
        return 1
    state = run / "state.txt"
    step = int(state.read_text()) if state.exists() else 0
    tell("start", steps=steps, step=step, stages=["1"], run=str(run))
    validate(step)
    word, was = "", ""
    while step < steps and word != "finish":
        time.sleep(MOMENT)
        word = Path(option("--orders")).read_text()
        if word == "pause":
            if was != "pause":
                tell("paused", step=step)
        else:
            step += 1
            losses = {"G": 1 / step}
            tell("step", step=step, steps=steps, stage="1", losses=losses, seconds_left=9.0)
        was = word
        keep(step, state)
        if word == "stop":
            tell("stopped", step=step)
            return 130
    validate(step)
    shutil.copyfile(option("--from"), option("--out"))
    before, after = score(20.0), score(8.0)
    tell("finetuned", improved=True, text="Better.", before=before, after=after)
    tell("done", model=option("--out"))
    return 0


def keep(step: int, state: Path) -> None:
    """In one step, whenever it is killed."""
    part = state.with_suffix(".part")
    part.write_text(str(step))
    part.replace(state)


def pngs(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.png"))


def validate(step: int) -> None:
    error = 20.0 if not step else 8.0
    figures = {"ciede2000": error, "ciede2000_gray": 12.0, "measure": error / 12}
    tell("validation", step=step, **{f"validation_{name}": x for name, x in figures.items()})


def score(error: float) -> dict[str, float]:
    return {"pictures": 3, "ciede2000": error, "ciede2000_gray": 12.0}


if __name__ == "__main__":
    sys.exit(main())
