"""Components that are wrong, each in a few ways; `fails` says which checks have to tell."""

import math
import random
from collections.abc import Mapping
from contextlib import contextmanager
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field, model_validator
from torch import nn

from ablate.api import (
    Average,
    Backbone,
    Choice,
    Clip,
    Conditioning,
    Data,
    Dataset,
    Design,
    DiscreteSchedule,
    Ema,
    Features,
    Fusion,
    Guidance,
    InputError,
    Levels,
    Loss,
    Measurement,
    Metric,
    Modulation,
    Optimizer,
    Precision,
    Precondition,
    Schedule,
    Setting,
    Solver,
    State,
    Target,
    Weighting,
)
from ablate.kinds.precondition import Coefficients


class Odd(Weighting):
    name = "odd name"  # no word, and no docstring

    power: Annotated[float, Field(gt=0), Choice(0.5, 0)] = 1  # 0 is no valid value, 1 is no float
    fails: ClassVar = ("is_named", "says_what_it_is", "round_trips_as_json", "searches_what_is_valid")

    def weight(self, level, sigma_data):
        return level.snr


class Loose(Weighting):
    """A config that anyone may change and misspell."""

    name = "loose"
    model_config = ConfigDict(frozen=False, extra="ignore")
    power: float = 1.0
    fails: ClassVar = ("is_frozen", "refuses_unknown_fields")

    def weight(self, level, sigma_data):
        return level.snr


class Contrary(Weighting):
    """Refuses its own defaults."""

    name = "contrary"
    fails: ClassVar = ("makes_from_defaults",)

    @model_validator(mode="after")
    def _never(self):
        raise ValueError("not like this")

    def weight(self, level, sigma_data):
        return level.snr


class Changing(Weighting):
    """Another default in each process."""

    name = "changing"
    power: float = Field(default_factory=random.random)
    fails: ClassVar = ("has_one_identity",)

    def weight(self, level, sigma_data):
        return level.snr


class Mute(Weighting):
    """Needs something, and does not say why."""

    name = "mute"
    fails: ClassVar = ("tells_what_it_needs",)

    def requires(self):
        return {"a_secret": ""}

    def weight(self, level, sigma_data):
        return level.snr


class Negative(Weighting):
    """Below zero where there is more noise than signal."""

    name = "negative"
    fails: ClassVar = ("is_finite_and_not_negative",)

    def weight(self, level, sigma_data):
        return level.log_snr


class Network(nn.Module):
    """One convolution and a bias of level and class, or as its flags say."""

    def __init__(self, channels: int, classes: int | None, way: str) -> None:
        super().__init__()
        self.way = way
        self.inward = nn.Conv2d(channels, 8, 3, padding=1)
        self.level = nn.Linear(1, 8)
        self.label = nn.Embedding((classes or 0) + 1, 8)
        self.outward = nn.Conv2d(8, channels * (2 if way == "wide" else 1), 3, padding=1)
        self.spare = nn.Linear(3, 3) if way == "unused" else None
        self.register_buffer("mark", torch.rand(1), persistent=False)
        if way == "placed":
            self.place = nn.Parameter(torch.zeros(1, device="cpu"))

    def forward(self, x, noise, labels):
        condition = self.level(noise[:, None] / 1000)
        if labels is not None:
            condition = condition + self.label(labels)
        if self.way == "deaf":
            condition = condition * 0
        h = torch.nn.functional.silu(self.inward(x) + condition[:, :, None, None])
        if self.way == "mixing":
            h = h - h.mean(0)
        if self.way == "random":
            h = h + 0.1 * torch.randn_like(h)
        if self.way == "infinite":
            h = h / 0
        y = self.outward(h)
        if self.way == "placed":
            y = y + self.place.to(y.device)
        return y * self.mark if self.way == "forgetful" else y


class Net(Backbone):
    """A backbone without a fault."""

    name = "net"
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def provides(self) -> frozenset[str]:
        return frozenset({"null_class", "feature_maps"})

    def build(self, setting: Setting) -> nn.Module:
        return Network(setting.shape[0], setting.classes, self.way)


class Wide(Net):
    """Twice the channels, without a word."""

    name = way = "wide"
    fails: ClassVar = ("gives_the_shape",)


class Unused(Net):
    """A layer that no forward pass comes by."""

    name = way = "unused"
    fails: ClassVar = ("trains",)


class Forgetful(Net):
    """A state that no state dict holds."""

    name = way = "forgetful"
    fails: ClassVar = ("keeps_its_state",)


class Deaf(Net):
    """Neither level nor class make a difference."""

    name = way = "deaf"
    fails: ClassVar = ("listens_to_its_condition", "knows_no_class")


class Mixing(Net):
    """Images in a batch influence each other."""

    name = way = "mixing"
    fails: ClassVar = ("keeps_images_apart",)


class Random(Net):
    """Noise in eval()."""

    name = way = "random"
    fails: ClassVar = ("is_deterministic",)


class Infinite(Net):
    """A division by zero."""

    name = way = "infinite"
    fails: ClassVar = ("gives_the_shape", "trains", "runs_in_bf16")


class Placed(Net):
    """A parameter that is always on the CPU."""

    name = way = "placed"
    fails: ClassVar = ("builds_on_the_meta_device",)


class Scale(nn.Module):
    """One number."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.rand(1))

    def forward(self, x, noise, labels):
        return x * self.factor


class Elementwise(Net):
    """No matrix work at all."""

    name = "elementwise"
    fails: ClassVar = ("has_a_cost",)

    def build(self, setting):
        return Scale()


class Gate(nn.Module):
    """Shift alone, or with a gate of one."""

    def __init__(self, site, gated: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(site.embedding, site.width)
        self.branches = site.branches
        self.gated = gated

    def forward(self, context):
        shift = self.linear(context.embedding)
        one = Modulation(shift=shift, gate=torch.ones_like(shift) if self.gated else None)
        return tuple(one for _ in range(self.branches))


class Boastful(Conditioning):
    """Says that its blocks are the identity, and gates with one."""

    name = "boastful"
    fails: ClassVar = ("is_the_identity_where_it_says_so",)

    def provides(self):
        return frozenset({"identity_at_start"})

    def requires(self):
        return {"tokens": "it is made for tokens"}

    def modulation(self, site):
        return Gate(site, gated=True)


class Shapeless(Conditioning):
    """One modulation for any number of branches, and nothing of the right width."""

    name = "shapeless"
    fails: ClassVar = ("gives_the_shapes",)

    def requires(self):
        return {"tokens": "it is made for tokens"}

    def attention(self, site):
        class Wide(nn.Module):
            def forward(self, x, context):
                return x.repeat(1, 1, 2)

        return Wide()


class Nowhere(Conditioning):
    """Offers no place; so what it conditions does not listen."""

    name = "nowhere"
    fails: ClassVar = ("offers_a_place", "listens_to_its_condition")

    def requires(self):
        return {"tokens": "it is made for tokens"}


class Sum(nn.Module):
    """d + W·s, or as the flag says."""

    def __init__(self, channels, skip, way):
        super().__init__()
        self.way = way
        self.project = nn.Conv2d(skip, channels, 1)
        self.register_buffer("mark", torch.rand(1), persistent=False)

    def forward(self, d, s, embedding):
        s = self.project(s)
        if self.way == "forgetful":
            s = s * self.mark
        if self.way == "mixing":
            s = s - s.mean(0)
        return torch.cat([d, s], 1) if self.way == "concat" else s if self.way == "alone" else d + s


class Add(Fusion):
    """A fusion without a fault."""

    name = "add"
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def build(self, channels, skip_channels, embedding):
        return Sum(channels, skip_channels, self.way)


class Wider(Add):
    """Twice the channels of the decoder."""

    name = "wider"
    way = "concat"
    fails: ClassVar = ("gives_the_shape_of_the_decoder",)


class Alone(Add):
    """The decoder plays no part."""

    name = "alone"
    way = "alone"
    fails: ClassVar = ("uses_both",)


class Blend(Add):
    """Images in a batch influence each other."""

    name = "blend"
    way = "mixing"
    fails: ClassVar = ("fuses_each_image_alone",)


class Marked(Add):
    """A state that no state dict holds."""

    name = "marked"
    way = "forgetful"
    fails: ClassVar = ("keeps_the_state_of_its_module",)


class Steep(DiscreteSchedule):
    """β beyond one, so that α is the root of a negative number, and a slope of its own."""

    name = "steep"
    fails: ClassVar = ("goes_through_its_table", "has_its_slope")

    def betas(self, steps):
        return torch.linspace(0.5, 1.5, steps, dtype=torch.float64)

    def slope(self, t):
        return -t


class Backwards(Schedule):
    """More signal the later, in fp32, and time is not found again; it promises what it does not keep."""

    name = "backwards"
    fails: ClassVar = (
        "is_finite_everywhere",
        "falls_from_signal_to_noise",
        "finds_time_again",
        "keeps_its_promises",
    )

    def provides(self):
        return frozenset({"zero_terminal_snr"})

    def alpha(self, t):
        return (0.1 + 0.8 * t).float()

    def sigma(self, t):
        return 0.9 - 0.8 * t

    def time(self, log_snr):
        return log_snr.sigmoid()


class Double(Levels):
    """A density of two, and draws that leave time."""

    name = "double"
    fails: ClassVar = ("stays_within_time", "has_a_density_of_one", "draws_from_its_density")

    def draw(self, uniform, schedule):
        return 2 * uniform

    def density(self, t, schedule):
        return t * 0 + 2


class Known(Target):
    """y = x: the network is asked for what it is given."""

    name = "known"
    fails: ClassVar = ("says_more_than_x", "gives_back_image_and_noise")

    def coefficients(self, level):
        return level.alpha, level.sigma


class Averaging(Target):
    """Every level has the coefficients of the mean level."""

    name = "averaging"
    fails: ClassVar = ("depends_on_the_level_alone",)

    def coefficients(self, level):
        return level.alpha * 0, level.alpha * 0 + level.alpha.mean()


class Dead(Precondition):
    """The network's output counts nothing, and the label of the level is infinite."""

    name = "dead"
    fails: ClassVar = ("is_finite_everywhere", "lets_the_optimal_network_through")

    def coefficients(self, level, target, sigma_data):
        one = level.alpha * 0 + 1
        return Coefficients(one * 0, one * 0, one, one / 0)


class Flat(Precondition):
    """One label for all levels, unit variance claimed and not kept."""

    name = "flat"
    fails: ClassVar = ("tells_levels_apart", "has_unit_variance_where_it_says_so")

    def provides(self):
        return frozenset({"unit_variance"})

    def coefficients(self, level, target, sigma_data):
        one = level.alpha * 0 + 1
        return Coefficients(one * 0, one, one, one)


class Rewarding(Loss):
    """The larger the error, the better."""

    name = "rewarding"
    fails: ClassVar = ("is_least_where_the_prediction_is_right",)

    def compute(self, prediction, batch, process):
        target = process.target.value(batch.x0, batch.noise, batch.level)
        return -(prediction - target).square().flatten(1).mean(1).float()


class Total(Loss):
    """One number for all images, in float64."""

    name = "total"
    fails: ClassVar = ("is_a_number_an_image",)

    def compute(self, prediction, batch, process):
        return (prediction - process.target.value(batch.x0, batch.noise, batch.level)).square().mean().double()


class Batched(Loss):
    """Each image has the loss of the whole batch."""

    name = "batched"
    fails: ClassVar = ("keeps_images_apart",)

    def compute(self, prediction, batch, process):
        target = process.target.value(batch.x0, batch.noise, batch.level)
        return (prediction - target).square().mean().float().expand(len(prediction))


class Miscounting(Solver):
    """Counts a call too many, stops before the image, draws from the global generator and does not clip."""

    name = "miscounting"
    fails: ClassVar = (
        "counts_its_calls",
        "goes_from_noise_to_the_image",
        "finds_a_known_distribution",
        "is_decided_by_its_generator",
        "clips_if_told_to",
    )

    def nfe(self):
        return self.steps + 1

    def sample(self, denoise, x, schedule, generator):
        for nfe, (now, then) in enumerate(self.intervals(schedule), 1):
            found = denoise(x, now.t)
            x = found.x0 + 0.1 * torch.randn_like(x)
            yield State(x, found.x0, max(then.t, 0.01), nfe)


class Overbearing(Guidance):
    """Doubles what all classes agree on, drops every label, and has one name for all scales."""

    name = "overbearing"
    scale: Annotated[float, Field(ge=0), Choice(1.0, 2.0)] = 2.0
    fails: ClassVar = (
        "asks_for_a_share_of_labels",
        "names_itself",
        "leaves_alone_what_the_class_does_not_change",
        "means_the_same_for_every_target",
    )

    def drop_rate(self):
        return 1.0

    def predict(self, predict, x, labels, null, level):
        return (1 + self.scale) * predict(x, labels).float()

    def describe(self):
        return "overbearing"


class Huddling(Guidance):
    """Draws images together, in bfloat16, and needs labels without saying so."""

    name = "huddling"
    fails: ClassVar = ("keeps_shape_and_batch", "works_without_labels")

    def drop_rate(self):
        return 0.0

    def predict(self, predict, x, labels, null, level):
        y = predict(x, labels + 0)
        return (y - y.mean(0)).bfloat16()

    def describe(self):
        return "huddling"


class Ascent(Optimizer):
    """Goes uphill with the first parameter alone, at twice the rate that was asked for."""

    name = "ascent"
    fails: ClassVar = ("descends_a_quadratic", "moves_at_its_own_rate", "keeps_its_rate_within_bounds")

    def build(self, parameters):
        return torch.optim.SGD(list(parameters)[:1], lr=self.lr, maximize=True)

    def rate(self, images, budget):
        return 2 * self.lr


class Tired(torch.optim.SGD):
    """Takes ever smaller steps, and does not keep how many."""

    taken = 0

    def step(self, closure=None):
        self.taken += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.taken
        return super().step(closure)


class Forgetting(Optimizer):
    """A state that its state dict does not hold."""

    name = "forgetting"
    fails: ClassVar = ("resumes_where_it_stopped",)

    def build(self, parameters):
        return Tired(parameters, lr=self.lr)


class Lengthening(Clip):
    """Twice as long, and tells the norm after that."""

    name = "lengthening"
    fails: ClassVar = ("tells_the_norm_before_clipping", "only_shortens")

    def apply(self, parameters):
        for p in parameters:
            if p.grad is not None:
                p.grad *= 2
        return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


class Dividing(Clip):
    """Unit length whatever comes, also where there is none; a NaN counts as nothing."""

    name = "dividing"
    fails: ClassVar = ("survives_nothing_and_tells_of_nan",)

    def apply(self, parameters):
        found = [p.grad for p in parameters if p.grad is not None]
        for g in found:
            g.nan_to_num_()
        norm = torch.stack([g.norm() for g in found]).norm()
        for g in found:
            g /= norm
        return norm


class Drifting(Average):
    """Adds a tenth at each step, and keeps no state."""

    def __init__(self, parameters) -> None:
        self.average = {name: p.detach().clone() for name, p in parameters.items()}

    def update(self, images, batch):
        for value in self.average.values():
            value += 0.1

    def weights(self):
        return {"": dict(list(self.average.items())[:1])}

    def state(self):
        return {}

    def load(self, state: Mapping) -> None:
        pass


class Drift(Ema):
    """An average that goes its own way."""

    name = "drift"
    fails: ClassVar = (
        "keeps_what_is_constant",
        "lies_among_its_values",
        "has_weights_for_every_parameter",
        "resumes_where_it_stopped",
    )

    def build(self, parameters):
        return Drifting(parameters)


class Coarse(Precision):
    """Switches to bfloat16 for good."""

    name = "coarse"
    fails: ClassVar = ("leaves_nothing_behind",)

    def forward(self, device):
        torch.set_autocast_enabled("cpu", True)
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def scaler(self, device):
        return torch.amp.GradScaler("cpu", enabled=False)


class Graphless(Precision):
    """Twice what it should be, and no gradient."""

    name = "graphless"
    fails: ClassVar = ("is_close_to_fp32", "takes_a_step")

    @contextmanager
    def forward(self, device):
        linear = torch.nn.functional.linear
        torch.nn.functional.linear = lambda *given: 2 * linear(*given)
        try:
            with torch.no_grad():
                yield
        finally:
            torch.nn.functional.linear = linear

    def scaler(self, device):
        return torch.amp.GradScaler("cpu", enabled=False)


class Leaky(Data):
    """Trains on its reference, in another order each time, labels out of range, another shape than it says."""

    name = "leaky"
    fails: ClassVar = (
        "is_what_its_setting_says",
        "is_labelled_as_it_says",
        "keeps_its_parts_apart",
        "loads_the_same_again",
    )

    def provides(self):
        return frozenset({"labels"})

    def setting(self):
        return Setting((1, 8, 8), 2)

    def load(self, cache):
        images = np.random.default_rng().integers(0, 256, (20, 1, 6, 6), dtype=np.uint8)
        labels = np.arange(20)
        return Dataset(images, labels, images[:5], labels[:5], 2, str(images.sum()))


class Blind(Features):
    """The mean over the batch, in float64; its weights have another hash each time."""

    name = "blind"
    counter: ClassVar = [0]
    fails: ClassVar = ("gives_finite_vectors", "looks_at_each_image_alone", "names_its_weights")

    def build(self, device):
        return lambda images: images.double().mean(0).flatten()[:4].expand(len(images), 4)

    def weights_hash(self):
        self.counter[0] += 1
        return str(self.counter[0])


class Dreaming(Features):
    """Sees something else each time."""

    name = "dreaming"
    fails: ClassVar = ("is_deterministic",)

    def build(self, device):
        return lambda images: torch.rand(len(images), 4)

    def weights_hash(self):
        return "0" * 64


class Undefined(Metric):
    """Not a number, under a name that was not earned."""

    name = "undefined"
    fails: ClassVar = ("is_finite", "is_named_after_its_features")

    def label(self, samples):
        return "fid"

    def compute(self, generated, reference):
        return Measurement(math.nan)


class Indifferent(Metric):
    """Better with noise, and by the order of the images."""

    name = "indifferent"
    fails: ClassVar = ("is_deterministic", "grows_worse_with_noise")

    def compute(self, generated, reference):
        return Measurement(float(generated[0, 0] - generated.std()))


class Repeating(Design):
    """The same candidate twice, a choice that is none, and a count that is wrong."""

    name = "repeating"
    fails: ClassVar = ("proposes_what_there_is", "proposes_each_once")

    def proposals(self, dimensions):
        return [{"no.such.path": 1}, {"no.such.path": 1}]

    def candidates(self, dimensions):
        return 5

    def sampler(self, seed):
        import optuna

        return optuna.samplers.RandomSampler(seed=seed)


class Restless(Design):
    """Asks for something else each time, whatever its seed, and does not say of what range it cannot make a list."""

    name = "restless"
    fails: ClassVar = ("is_decided_by_its_seed", "takes_or_refuses_a_range")

    def proposals(self, dimensions):
        if any(not d.choices for d in dimensions):
            raise InputError("no")

    def candidates(self, dimensions):
        return 5

    def sampler(self, seed):
        import optuna

        return optuna.samplers.RandomSampler()
