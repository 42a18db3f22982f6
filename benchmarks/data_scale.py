"""Time and memory to read and plan a Med-MAT release of full size (2.4 million questions), on generated records.

    python benchmarks/data_scale.py --records 2400000 --scratch /tmp [--json] [--check]

Writes question files for the 37 classification subsets below the scratch folder, reads, plans and audits them in a
fresh process as a run does, prints seconds, peak memory and the sizes of the splits, and removes the files. There are
no image files: whether an image exists is answered without asking the disk, which adds a few microseconds an image.
``--check`` exits with 1 if reading takes 2 minutes of processor time or 2 GiB at 2.4 million records, or in proportion.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Bar, Row, finish, options

from medgraph.data.registry import builtin

MEASURE = """
import itertools, json, os, resource, sys, time
sizes = itertools.count(1)
os.path.isfile, os.path.getsize = lambda path: True, lambda path: next(sizes)
start, cpu = time.perf_counter(), time.process_time()
from medgraph.config import MedMATConfig
from medgraph.data.audit import audit
from medgraph.data.loading import ConversationDataset
from medgraph.data.medmat import build_medmat
corpus = build_medmat(MedMATConfig(root=sys.argv[1]))
read = time.process_time() - cpu
assert audit(corpus, corpus.load_image.root, near=False).clean
audited = time.process_time() - cpu - read
dataset = ConversationDataset(corpus.splits["train"], lambda image: None, seed=0)
began = time.process_time()
for index in range(1000):
    dataset[0, index * len(dataset) // 1000]
print(json.dumps({
    "seconds": time.perf_counter() - start, "cpu_read": read, "cpu_audit": audited,
    "microseconds_a_sample": 1000 * (time.process_time() - began),
    "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "records": {name: len(split) for name, split in corpus.splits.items()},
}))
"""

FULL, SECONDS_BAR, MEMORY_BAR = 2_400_000, 120.0, 2.0


def generate(root: Path, total: int) -> None:
    specs = builtin().filter(kind="cls")
    (root / "Aggregated_Subsets").mkdir()
    for spec in specs:
        folder = root / "med-mat" / f"source {spec.no}"
        records = []
        for i in range(total // len(specs)):
            label, image = "abcd"[i % 4], folder / f"{i}.png"
            question = f"Which of the findings does image {i % 6} show?"
            shown = "\n".join(f"{letter}: finding {option}" for letter, option in zip("ABCD", "abcd", strict=True))
            records.append(
                {
                    "id": i,
                    "caption": f"finding {label}",
                    "image": image.relative_to(root).as_posix(),
                    "Question": question,
                    "Answer": f"finding {label}",
                    "Question-choice": f"{question}\n{shown}\nAnswer with the option's letter from the given choices.",
                    "Answer-choice": "ABCD"["abcd".index(label)],
                    "data-no": str(spec.no),
                }
            )
        (root / "Aggregated_Subsets" / f"Subset--{spec.no:02d}-train.json").write_text(json.dumps(records))


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--records", type=int, default=FULL)
    parser.add_argument("--scratch", type=Path, default=None, help="where to write about 0.5 kB a record")
    args = parser.parse_args()
    finish(args, [measure(args.records, args.scratch)], show)


def measure(records: int, scratch: Path | None) -> Row:
    root = Path(tempfile.mkdtemp(dir=scratch))
    try:
        generate(root, records)
        done = subprocess.run([sys.executable, "-c", MEASURE, str(root)], check=True, stdout=subprocess.PIPE, text=True)
    finally:
        shutil.rmtree(root)
    found = json.loads(done.stdout)
    limit = SECONDS_BAR * max(0.1, records / FULL)
    bars = [
        Bar("seconds of CPU to read and split", found["cpu_read"], limit),
        Bar("GiB at most", found["peak_gib"], MEMORY_BAR),
    ]
    return Row(f"{records:,} records", found, bars)


def show(row: Row) -> str:
    found = row.figures
    return (
        f"{row.what}: {found['cpu_read']:.1f} s of CPU to read and split, {found['cpu_audit']:.1f} s to audit, "
        f"{found['seconds']:.1f} s by the clock, peak memory {found['peak_gib']:.2f} GiB, "
        f"{found['microseconds_a_sample']:.0f} microseconds a training sample without its image\n"
        f"    records by split: {found['records']}"
    )


if __name__ == "__main__":
    main()
