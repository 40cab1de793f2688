"""Coverage-guided fuzzing of the readers with Atheris.

    pip install atheris
    python tests/fuzz/fuzz.py published -runs=100000
    python tests/fuzz/fuzz.py all -max_total_time=60

The first argument names a reader of `readers.py`, or `all` for one after another in processes of their own; what
follows goes to libFuzzer. It stops at the first input that raises what is not a refusal, and writes it to a file.
"""

import re
import subprocess
import sys

import atheris

with atheris.instrument_imports(include=["modeling_cotpd"]):
    from readers import READERS, SCRATCH, SEEDS, read


def run(name: str, flags: list[str]) -> None:
    corpus = SCRATCH / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[name]):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([sys.argv[0], *flags, str(corpus)], lambda data: read(name, data))
    atheris.Fuzz()


def run_all(flags: list[str]) -> int:
    total, failed = 0, []
    for name in READERS:
        done = subprocess.run(
            [sys.executable, __file__, name, *flags], capture_output=True, text=True, errors="replace", check=False
        )
        runs = max(map(int, re.findall(r"^#(\d+)\s", done.stderr, re.MULTILINE)), default=0)
        total += runs
        print(f"{name:15} {runs:>9,} inputs  {'failed' if done.returncode else 'clean'}", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout[-1500:] + done.stderr[-1500:])
    print(f"{total:,} inputs, {len(failed)} readers failed")
    return len(failed)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in (*READERS, "all"):
        sys.exit(f"usage: fuzz.py READER [libFuzzer flags]; readers: all, {', '.join(READERS)}")
    if sys.argv[1] == "all":
        sys.exit(run_all(sys.argv[2:]))
    run(sys.argv[1], sys.argv[2:])
