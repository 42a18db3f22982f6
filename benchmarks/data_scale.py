"""Time and memory to read and plan a Med-MAT release of full size (2.4 million questions), on generated records.

    python benchmarks/data_scale.py --records 2400000 --scratch /tmp

Writes question files for the 37 classification subsets below the scratch folder, builds the corpus in a fresh process,
prints seconds, peak memory and the sizes of the splits, and removes the files. There are no image files: whether an
image exists is answered without asking the disk, which adds a few microseconds an image.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from medgraph.data.registry import builtin

MEASURE = """
import resource, sys, time
import itertools, os
sizes = itertools.count(1)
os.path.isfile, os.path.getsize = lambda path: True, lambda path: next(sizes)
start, cpu = time.perf_counter(), time.process_time()
from medgraph.config import MedMATConfig
from medgraph.data.medmat import build_medmat
corpus = build_medmat(MedMATConfig(root=sys.argv[1]))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
sizes = {name: len(split) for name, split in corpus.splits.items()}
print(f"{seconds:.1f} s ({time.process_time() - cpu:.1f} s of CPU), peak memory {peak:.2f} GiB, {sizes}")
"""


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2_400_000)
    parser.add_argument("--scratch", type=Path, default=None, help="where to write about 0.5 kB a record")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=options.scratch))
    try:
        generate(root, options.records)
        subprocess.run([sys.executable, "-c", MEASURE, str(root)], check=True)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
