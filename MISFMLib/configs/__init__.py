"""Settings of networks, model space and jobs as frozen dataclasses; needs neither torch nor numpy.

Every default stands here and nowhere else. The line under a field is its help text on the command
line and its tooltip in Slicer. `decode` and `encode` translate to and from JSON.
"""

from MISFMLib.configs.benchmark import BenchmarkConfig
from MISFMLib.configs.coding import (
    decode,
    encode,
    raise_problems,
)
from MISFMLib.configs.collect import CollectConfig
from MISFMLib.configs.evaluate import EvaluateConfig
from MISFMLib.configs.finetune import (
    FinetuneConfig,
)
from MISFMLib.configs.model_space import (
    Code,
    IntensityConfig,
    InterpolationConfig,
    LabelConfig,
    PreprocessingConfig,
)
from MISFMLib.configs.network import (
    NetworkConfig,
    StagesConfig,
)
from MISFMLib.configs.prepare import (
    PrepareConfig,
)
from MISFMLib.configs.pretrain import (
    PretrainConfig,
)
from MISFMLib.configs.quantize import (
    QuantizeConfig,
)
from MISFMLib.configs.review import ReviewConfig
from MISFMLib.configs.segment import (
    WORTH_CONVERTING,
    SegmentConfig,
)
from MISFMLib.configs.training import (
    TrainingConfig,
)
from MISFMLib.configs.types import (
    EngineName,
    NetworkPreset,
    Padding,
    Precision,
    ResolutionMode,
    SegmentPrecision,
    Size,
    Spacing,
)

__all__ = [
    "WORTH_CONVERTING",
    "BenchmarkConfig",
    "Code",
    "CollectConfig",
    "EngineName",
    "EvaluateConfig",
    "FinetuneConfig",
    "IntensityConfig",
    "InterpolationConfig",
    "LabelConfig",
    "NetworkConfig",
    "NetworkPreset",
    "Padding",
    "Precision",
    "PrepareConfig",
    "PreprocessingConfig",
    "PretrainConfig",
    "QuantizeConfig",
    "ResolutionMode",
    "ReviewConfig",
    "SegmentConfig",
    "SegmentPrecision",
    "Size",
    "Spacing",
    "StagesConfig",
    "TrainingConfig",
    "decode",
    "encode",
    "raise_problems",
]
