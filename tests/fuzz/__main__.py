"""``python -m tests.fuzz [TARGET…] [--seconds N] [--seed N] [--count N]``"""

from __future__ import annotations

import argparse
import random

from tests.fuzz.targets import PURE, rest, run


def main() -> None:
    """Fuzz the targets one after another, each for some seconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=main.__doc__)
    parser.add_argument("targets", nargs="*", choices=[*PURE, "rest", []], help="default: all")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (default 60)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="of the first input")
    parser.add_argument("--count", type=int, default=1 << 40, help="inputs at most")
    options = parser.parse_args()
    for name in options.targets or [*PURE, "rest"]:
        print(f"{name}: seed {options.seed}", flush=True)
        if name == "rest":
            with rest() as target:
                number = run(target, options.seconds, options.seed, options.count)
        else:
            number = run(PURE[name], options.seconds, options.seed, options.count)
        print(f"{name}: {number} inputs, no failure", flush=True)


if __name__ == "__main__":
    main()
