"""OmniMedVQA (Hu et al., CVPR 2024, arXiv:2402.09181): choice questions over many public image sets; test only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medgraph.config import OmniMedVQAConfig
from medgraph.data.errors import DataError
from medgraph.data.medmat_files import read_json_list
from medgraph.data.policy import Policy
from medgraph.data.questions import same
from medgraph.data.readers.common import make_corpus, qa_record, text_field
from medgraph.data.records import Corpus, Record

OPTIONS = ("option_A", "option_B", "option_C", "option_D")


def build_omni_med_vqa(config: OmniMedVQAConfig) -> Corpus:
    """Read the open-access part of OmniMedVQA.

    Returns:
        A corpus with a ``test`` split only; the subset of a record is its source set.

    Raises:
        DataError: for missing files, malformed records, and an answer that is none of the options.
    """
    root, policy = Path(config.root), Policy.of(config)
    folder = root / "QA_information" / "Open-access"
    files = sorted(folder.glob("*.json"))
    if not files:
        raise DataError.at("file_missing", folder, found=None, expected="JSON files of OmniMedVQA",
                           fix="set data.root to the folder that holds QA_information/ and Images/")  # fmt: skip
    rows = ((file, position, raw) for file in files for position, raw in enumerate(read_json_list(file)))
    names = {f"omni-med-vqa/{name}" for name in config.datasets}
    records = [record for record in policy.usable(_record, rows) if not names or record.subset in names]
    return make_corpus({"test": records}, root, config, policy)


def _record(row: tuple[Path, int, Any]) -> Record:
    file, position, raw = row
    name = text_field(raw, "question_id", file, f"at position {position}")
    field = {key: text_field(raw, key, file, name) for key in ("dataset", "question", "gt_answer", "image_path")}
    options = tuple(text for key in OPTIONS if (text := text_field(raw, key, file, name, optional=True)))
    answer = next((option for option in options if same(option) == same(field["gt_answer"])), None)
    if answer is None or len({same(option) for option in options}) < len(options):
        expected = f"one of the different options {list(options)}"
        raise DataError.at("answer_mismatch", file, record=name, field="gt_answer", found=field["gt_answer"],
                           expected=expected, fix="correct the record")  # fmt: skip
    modality = text_field(raw, "modality_type", file, name, optional=True) or text_field(raw, "modality", file, name)
    kind = text_field(raw, "question_type", file, name, optional=True).lower() or "vqa"
    return qa_record(f"omni-med-vqa/{field['dataset']}", name, field["image_path"], field["question"], answer,
                     question_type=kind, modality=modality, options=options)  # fmt: skip
