"""All that a plugin author imports. Importing it does not import torch."""

from ablate.discovery.hooks import hookimpl
from ablate.errors import InputError
from ablate.io.files import digest
from ablate.io.weights import WeightsFile
from ablate.kinds.adapter import Adapter
from ablate.kinds.analysis import Analysis, Compared, PairedPermutation
from ablate.kinds.augmentation import Augmentation, Augmented, Uniform
from ablate.kinds.autoencoder import Autoencoder, Decoder
from ablate.kinds.auxiliary import Auxiliary, SiteAuxiliary
from ablate.kinds.backbone import Backbone, Constrained, network_blocks
from ablate.kinds.clip import Clip, Norms
from ablate.kinds.condition import CLASS_COLUMN, Condition
from ablate.kinds.conditioning import Conditioning, Context, Modulation, Site
from ablate.kinds.conditions import (
    PREDICTION,
    Conditions,
    Labels,
    Told,
    absent,
    class_labels,
    joined,
    told_record,
    without,
)
from ablate.kinds.coupling import Coupling
from ablate.kinds.data import Data, Dataset, Encoding
from ablate.kinds.design import CUT_SHORT, Assignment, Design, Dimension
from ablate.kinds.ema import Average, Ema, Kept, Weights
from ablate.kinds.embedder import Embedded, Embedder, EmbedderSite
from ablate.kinds.executor import Executor, Job, Pool, Report
from ablate.kinds.features import Extractor, Features, HeadsExtractor
from ablate.kinds.fidelity import Fidelity, Rung
from ablate.kinds.fusion import Fusion
from ablate.kinds.gate import Gate
from ablate.kinds.guidance import Companion, Drops, Guidance, Predictor, TrainedGuidance
from ablate.kinds.guides import (
    DenoisedGuidance,
    Denoisers,
    Guide,
    Sibling,
    WeakerGuidance,
    earlier_weights,
    moved,
    narrower,
)
from ablate.kinds.levels import Levels
from ablate.kinds.looks import Found, Looks
from ablate.kinds.loss import Loss
from ablate.kinds.metric import Collector, Measurement, Metric, TrainingMetric, Vectors
from ablate.kinds.mixer import Carried, Carry, Layout, Mixer, MixerSite, Projects, unread_options
from ablate.kinds.mlp import Mlp
from ablate.kinds.noised import Denoised, Level, Noised, Origin, Posterior, over, posterior
from ablate.kinds.norm import Norm
from ablate.kinds.objective import Host, Model, Objective, Pictures, Terms
from ablate.kinds.optimizer import Optimizer
from ablate.kinds.packed import one_by_one, over_stack
from ablate.kinds.parameters import Parameters, Role, Trained
from ablate.kinds.positions import Positions
from ablate.kinds.precision import Precision
from ablate.kinds.precondition import Coefficients, Precondition
from ablate.kinds.probe import HistoryObserver, Observer, PassObserver, Probe, Readings, Seen, StepObserver
from ablate.kinds.process import Process
from ablate.kinds.proxy import Proxy, Untrained
from ablate.kinds.residual import Residual
from ablate.kinds.routing import HidesPatches, Routing
from ablate.kinds.schedule import DiscreteSchedule, Schedule
from ablate.kinds.seeding import Race, Seeding
from ablate.kinds.solver import Denoiser, Grid, Point, Solver, State, noise_like
from ablate.kinds.target import Target
from ablate.kinds.teacher import TaughtObjective, TeacherTrial
from ablate.kinds.tracker import Log, TrackedStudy, TrackedTrial, Tracker
from ablate.kinds.weighting import Weighting
from ablate.spec.component import Added, Choice, Component, Course, Extent, InputSpec, Opened, Range, Spec, When, slot
from ablate.spec.inputs import ConditionSpec
from ablate.spec.renamed import Formerly

Setting = InputSpec  # its name in version 0.1.0, kept for plugins

__all__ = [
    "CLASS_COLUMN",
    "CUT_SHORT",
    "PREDICTION",
    "Adapter",
    "Added",
    "Analysis",
    "Assignment",
    "Augmentation",
    "Augmented",
    "Autoencoder",
    "Auxiliary",
    "Average",
    "Backbone",
    "Carried",
    "Carry",
    "Choice",
    "Clip",
    "Coefficients",
    "Collector",
    "Companion",
    "Compared",
    "Component",
    "Condition",
    "ConditionSpec",
    "Conditioning",
    "Conditions",
    "Constrained",
    "Context",
    "Coupling",
    "Course",
    "Data",
    "Dataset",
    "Decoder",
    "Denoised",
    "DenoisedGuidance",
    "Denoiser",
    "Denoisers",
    "Design",
    "Dimension",
    "DiscreteSchedule",
    "Drops",
    "Ema",
    "Embedded",
    "Embedder",
    "EmbedderSite",
    "Encoding",
    "Executor",
    "Extent",
    "Extractor",
    "Features",
    "Fidelity",
    "Formerly",
    "Found",
    "Fusion",
    "Gate",
    "Grid",
    "Guidance",
    "Guide",
    "HeadsExtractor",
    "HidesPatches",
    "HistoryObserver",
    "Host",
    "InputError",
    "InputSpec",
    "Job",
    "Kept",
    "Labels",
    "Layout",
    "Level",
    "Levels",
    "Log",
    "Looks",
    "Loss",
    "Measurement",
    "Metric",
    "Mixer",
    "MixerSite",
    "Mlp",
    "Model",
    "Modulation",
    "Noised",
    "Norm",
    "Norms",
    "Objective",
    "Observer",
    "Opened",
    "Optimizer",
    "Origin",
    "PairedPermutation",
    "Parameters",
    "PassObserver",
    "Pictures",
    "Point",
    "Pool",
    "Positions",
    "Posterior",
    "Precision",
    "Precondition",
    "Predictor",
    "Probe",
    "Process",
    "Projects",
    "Proxy",
    "Race",
    "Range",
    "Readings",
    "Report",
    "Residual",
    "Role",
    "Routing",
    "Rung",
    "Schedule",
    "Seeding",
    "Seen",
    "Setting",
    "Sibling",
    "Site",
    "SiteAuxiliary",
    "Solver",
    "Spec",
    "State",
    "StepObserver",
    "Target",
    "TaughtObjective",
    "TeacherTrial",
    "Terms",
    "Told",
    "TrackedStudy",
    "TrackedTrial",
    "Tracker",
    "Trained",
    "TrainedGuidance",
    "TrainingMetric",
    "Uniform",
    "Untrained",
    "Vectors",
    "WeakerGuidance",
    "Weighting",
    "Weights",
    "WeightsFile",
    "When",
    "absent",
    "class_labels",
    "digest",
    "earlier_weights",
    "hookimpl",
    "joined",
    "moved",
    "narrower",
    "network_blocks",
    "noise_like",
    "one_by_one",
    "over",
    "over_stack",
    "posterior",
    "slot",
    "told_record",
    "unread_options",
    "without",
]
