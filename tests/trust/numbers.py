"""
A program for a terminal: prints until it is told to stop, and keeps what it was typed.

    python numbers.py FOLDER lines|noise SEED

What it printed is in ``FOLDER/{kind}.printed``, what it was typed in ``{kind}.typed``
and its process id in ``{kind}.pid``, so that a test has them from the source. A typed
``q`` ends the printing, not the program.
"""

import hashlib
import os
import random
import select
import sys
import termios
import tty
from pathlib import Path

PACE_SECONDS = 0.02
END = b"THE END"


def write_all(output: bytes) -> None:
    while output:
        output = output[os.write(1, output) :]


def main(folder: Path, kind: str, seed: str) -> None:
    tty.setraw(0, termios.TCSANOW)
    randomness = random.Random(seed)
    running = hashlib.sha256()
    printed = (folder / f"{kind}.printed").open("wb", buffering=0)
    typed = (folder / f"{kind}.typed").open("wb", buffering=0)
    (folder / f"{kind}.pid").write_text(str(os.getpid()))
    number, is_printing = 0, True
    while True:
        readable, _, _ = select.select([0], [], [], PACE_SECONDS if is_printing else 60)
        if readable:
            keys = os.read(0, 65536)
            typed.write(keys)
            if is_printing and b"q" in keys:
                is_printing = False
                printed.write(END)
                write_all(END)
        if not is_printing:
            continue
        if kind == "lines":
            number += 1
            output = b"line %d\n" % number
        else:
            most = 200_000 if randomness.random() < 0.05 else 8_000
            output = randomness.randbytes(randomness.randrange(most))
            running.update(output)
            output += running.digest()
        printed.write(output)
        write_all(output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
