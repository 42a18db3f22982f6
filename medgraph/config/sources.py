"""The dataclasses of the data sources. A field's text is its documentation; a default lives here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

SPLITS = ("train", "task", "val", "test", "ood")
"""The splits of a corpus."""


@dataclass
class DataConfig:
    """Options that every data source has."""

    name: str = "phantom"
    """Which source; `DATA` lists the known ones."""
    fraction: float = 1.0
    """Share of the training images, in (0, 1]; shares are nested, so 10 % is contained in 40 %."""
    extended: Literal["paraphrase", "context"] = "context"
    """Extended answers that say the same in other words, or that add facts about the image."""
    seed: int = 0
    """Seed of the data (not of training): splits, questions, generated images."""
    augment: list[str] = field(default_factory=list)
    """Changes of the training images, in order: shift, rotate, intensity, cropmix, yoco, augmix, hflip."""
    cache: str = ""
    """Folder for a memory-mapped file of the decoded images, or `auto` for the user's cache folder; empty: none."""


@dataclass
class PhantomConfig(DataConfig):
    """Procedural images with independent generative factors; no files. See docs/phantom.md."""

    num_train: int = 5000
    """Training images at fraction 1."""
    num_task: int = 150
    """Images of the fixed set that stage 3 fine-tunes on."""
    num_val: int = 200
    """Validation images."""
    num_test: int = 300
    """Test images of combinations that occur in training."""
    num_ood: int = 300
    """Test images of held-out combinations."""
    questions_per_image: int = 3
    """Questions a record set asks about one image."""
    num_modalities: int = 4
    """How many of the modalities are used."""
    num_areas: int = 4
    """How many of the anatomical areas are used."""
    num_findings: int = 4
    """How many of the findings are used, `normal` included."""
    holdout: float = 0.125
    """Share of the (modality, area, finding) combinations kept for the ood split."""
    entanglement: float = 0.0
    """0: factors are independent; 1: the modality determines the area."""
    interaction: float = 0.0
    """Share of the pairs of modality and area that have looks of their own: finding, position, size and severity are
    drawn as other values there. 1: nothing that is learnt in one pair holds in the next."""


@dataclass
class FilesConfig(DataConfig):
    """Options of every source that reads files."""

    root: str = ""
    """Folder (or file) of the data; required."""
    on_error: Literal["error", "quarantine"] = "error"
    """Stop at the first record or image that cannot be used, or leave it out and count it in the report."""

    EXPECTS: ClassVar[str] = "the folder of the data"
    """What `root` has to be, for messages."""


@dataclass
class MedMATConfig(FilesConfig):
    """Images in the layout of the Med-MAT release (arXiv:2412.20070)."""

    name: str = "medmat"
    subsets: list[str] = field(default_factory=list)
    """Subset numbers to read; empty: all that are there."""
    ood_subsets: list[str] = field(default_factory=list)
    """Subsets kept for the ood split; empty: chosen so that each element also occurs in training; `none`: none."""
    max_per_subset: int = 3000
    """Cap on the training images of a subset, balanced over its labels; the other splits are capped in proportion."""
    questions: Literal["released", "rebuilt", "neutral"] = "released"
    """Choice questions of the release, rebuilt ones with balanced letters, or the same without modality and area."""
    split: Literal["stages", "paper"] = "stages"
    """70 % train, 5 % task, 5 % val, 20 % test; or the paper's nine to one, without a task set of its own."""
    only_open: bool = False
    """Leave out images whose data set cannot be downloaded without an account, by the registry."""

    EXPECTS: ClassVar[str] = "the folder that holds Aggregated_Subsets/ and med-mat/"


@dataclass
class FolderConfig(FilesConfig):
    """Images in folders named after their label, `<root>/<label>/…` or `<root>/<split>/<label>/…`."""

    name: str = "folder"
    triplet: list[str] = field(default_factory=list)
    """`modality/area/task` of all images, or `subfolder:modality/area/task` for each subfolder that is a subset."""
    ood_subsets: list[str] = field(default_factory=list)
    """Subfolders kept for the ood split; empty: chosen so that each element also occurs in training; `none`: none."""
    max_per_subset: int = 3000
    """Cap on the training images of a subset, balanced over its labels; the other splits are capped in proportion."""

    EXPECTS: ClassVar[str] = "the folder whose subfolders are named after labels"


@dataclass
class QuestionsConfig(FilesConfig):
    """Options of every source that has questions of its own."""

    rule: Literal["official", "clean"] = "official"
    """Leave test images that are also training images where they are, or take them out of training; counted always."""
    questions_per_image: int | None = None
    """Largest number of training questions of one image, chosen by a hash; null: all."""
    turns: int = 8
    """Independent training questions of one image in one conversation; more questions make further conversations."""
    test_share: float = 0.2
    """Share of the images that become the test split where the set ships none."""
    ood_value: str = ""
    """`column:value`, e.g. modality:CT or question_type:SIZE: questions with it are never trained on and become ood."""


@dataclass
class VQARADConfig(QuestionsConfig):
    """VQA-RAD (doi:10.1038/sdata.2018.251)."""

    name: str = "vqa_rad"

    EXPECTS: ClassVar[str] = "the folder that holds the JSON file(s) of VQA-RAD and images/"


@dataclass
class SlakeConfig(QuestionsConfig):
    """SLAKE (arXiv:2102.09542)."""

    name: str = "slake"
    language: Literal["en", "zh", "both"] = "en"
    """Which questions to keep."""

    EXPECTS: ClassVar[str] = "the folder that holds train.json, validate.json, test.json and imgs/"


@dataclass
class PathVQAConfig(QuestionsConfig):
    """PathVQA (arXiv:2003.10286), from the Parquet files of its public mirror."""

    name: str = "path_vqa"

    EXPECTS: ClassVar[str] = "the folder that holds train-*.parquet, validation-*.parquet and test-*.parquet"


@dataclass
class PMCVQAConfig(QuestionsConfig):
    """PMC-VQA (arXiv:2305.10415)."""

    name: str = "pmc_vqa"
    version: int = 2
    """1 reads train.csv and test.csv, 2 reads train_2.csv and test_2.csv."""

    EXPECTS: ClassVar[str] = "the folder that holds the CSV files and figures/ or images/"


@dataclass
class OmniMedVQAConfig(QuestionsConfig):
    """OmniMedVQA (arXiv:2402.09181); all of it is test data."""

    name: str = "omni_med_vqa"
    datasets: list[str] = field(default_factory=list)
    """Names of the source sets to keep; empty: all."""

    EXPECTS: ClassVar[str] = "the folder that holds QA_information/ and Images/"


@dataclass
class ConversationsConfig(QuestionsConfig):
    """Instruction data in the form of LLaVA-Med and ExGra-Med, `conversations_long` included."""

    name: str = "conversations"
    images: str | None = None
    """Folder of the images; null: `images/` beside the file, or the file's folder."""
    test_share: float = 0.05

    EXPECTS: ClassVar[str] = "a JSON file of conversations"


@dataclass
class MasksConfig(QuestionsConfig):
    """Detection and segmentation sets: `<root>/images` and `<root>/masks` become questions about boxes."""

    name: str = "masks"
    triplet: str = ""
    """`modality/area/task` of all images, e.g. End/Intestine/polyp_det; required."""
    classes: list[str] = field(default_factory=list)
    """`value:name` of every mask value, e.g. 255:polyp; required."""
    per: Literal["class", "component"] = "class"
    """One box around all pixels of a class, or one for each connected component."""
    style: Literal["minigpt_v2", "decimal"] = "minigpt_v2"
    """How boxes are written."""

    EXPECTS: ClassVar[str] = "the folder that holds images/ and masks/"


@dataclass
class Columns:
    """Names that a table has for its columns; only `image`, and `question` or `label`, must be there."""

    image: str = "image"
    """Path below the image folder, or the bytes of an image file."""
    question: str = "question"
    """Question, without options."""
    answer: str = "answer"
    """Short answer; for choice questions the text of the right option, or its letter or number."""
    options: str = "options"
    """Options of a choice question: a list, or text separated by `|`."""
    extended: str = "extended"
    """Extended answer."""
    label: str = "label"
    """Class of the image, where the table has no questions; needs modality, area and task."""
    modality: str = "modality"
    """Modality of the image."""
    area: str = "area"
    """Anatomical area of the image."""
    task: str = "task"
    """Task of a labelled image."""
    answer_type: str = "answer_type"
    """`open`, `closed` or `choice`."""
    question_type: str = "question_type"
    """What is asked; a row of the result tables."""
    subset: str = "subset"
    """Name of the set that a row belongs to."""
    group: str = "group"
    """What must not be split: patient, video, source."""
    split: str = "split"
    """train, val or test."""
    id: str = "id"
    """Unique id of a row."""


@dataclass
class ManifestConfig(QuestionsConfig):
    """A table with one question or one labelled image a row: CSV, TSV, JSON, JSONL or Parquet."""

    name: str = "manifest"
    images: str | None = None
    """Folder of the images; null: the folder of the table."""
    columns: Columns = field(default_factory=Columns)

    EXPECTS: ClassVar[str] = "a .csv, .tsv, .json, .jsonl or .parquet file"


@dataclass
class HFConfig(ManifestConfig):
    """A Hugging Face data set on disk: a folder of `save_to_disk`, or a folder of Parquet, JSON or CSV files."""

    name: str = "hf"

    EXPECTS: ClassVar[str] = "a folder written by save_to_disk, or one that holds Parquet, JSON, JSONL or CSV files"


@dataclass
class MixtureConfig(DataConfig):
    """Several sources side by side, each with an exact number of training images."""

    name: str = "mixture"
    sources: list[dict[str, Any]] = field(default_factory=list)
    """Of each its `name` and options, `count` (training images to take; all) and `splits` (which to use; all)."""


@dataclass
class SubsetsConfig(DataConfig):
    """Exact numbers of images of some subsets train, another subset is tested; see docs/cg.md."""

    name: str = "subsets"
    sources: list[dict[str, Any]] = field(default_factory=list)
    """Where the subsets come from: of each source its `name` and options, e.g. [{name: medmat, root: PATH}]."""
    train: list[str] = field(default_factory=list)
    """`subset:images` for every subset that trains; empty: the model is asked as it is."""
    target: str = ""
    """Subset that is tested; half of its groups are its test set."""
    labels: Literal["true", "shuffled"] = "true"
    """`shuffled` gives the training images each other's questions and answers."""


DATA: dict[str, type[DataConfig]] = {
    cls().name: cls
    for cls in (
        PhantomConfig, MedMATConfig, VQARADConfig, SlakeConfig, PathVQAConfig, PMCVQAConfig, OmniMedVQAConfig,
        ConversationsConfig, FolderConfig, MasksConfig, ManifestConfig, HFConfig, MixtureConfig, SubsetsConfig,
    )
}  # fmt: skip
"""Data sources by name."""
