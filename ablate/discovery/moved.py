"""The new names of modules that were moved, for a plugin that was written for version 0.1.0's first layout.

What `ablate.api` has stands there as ever; this is about what a plugin took from elsewhere.
"""

from __future__ import annotations

import re

MOVED = {
    "ablate_zoo.modules": "ablate_zoo.layers",
    "ablate.candidate": "ablate.candidates.candidate",
    "ablate.checkpoint": "ablate.training.checkpoint",
    "ablate.columns": "ablate.io.columns",
    "ablate.companion": "ablate.training.companion",
    "ablate.compare": "ablate.evaluation.compare",
    "ablate.component": "ablate.spec.component",
    "ablate.curve": "ablate.training.health",
    "ablate.datasets": "ablate.worker.datasets",
    "ablate.decoding": "ablate.evaluation.decoding",
    "ablate.divergence": "ablate.training.divergence",
    "ablate.evaluate": "ablate.evaluation.measure",
    "ablate.explain": "ablate.spec.explain",
    "ablate.fields": "ablate.spec.fields",
    "ablate.files": "ablate.io.files",
    "ablate.flops": "ablate.candidates.flops",
    "ablate.footprint": "ablate.training.memory_estimate",
    "ablate.hooks": "ablate.discovery.hooks",
    "ablate.images": "ablate.training.images",
    "ablate.isolation": "ablate.runtime.isolation",
    "ablate.judge": "ablate.evaluation.metric_evaluator",
    "ablate.labels": "ablate.evaluation.sampling",
    "ablate.launches": "ablate.io.launches",
    "ablate.memory": "ablate.runtime.memory",
    "ablate.mistakes": "ablate.spec.mistakes",
    "ablate.moments": "ablate.evaluation.solver_bias",
    "ablate.noisiness": "ablate.evaluation.noisiness",
    "ablate.patient": "ablate.runtime.patient",
    "ablate.preview": "ablate.evaluation.preview",
    "ablate.probing": "ablate.training.probing",
    "ablate.provenance": "ablate.discovery.provenance",
    "ablate.randomness": "ablate.runtime.randomness",
    "ablate.recompute": "ablate.runtime.recompute",
    "ablate.records": "ablate.worker.records",
    "ablate.registry": "ablate.discovery.catalog",
    "ablate.remeasure": "ablate.worker.remeasure",
    "ablate.sample_cost": "ablate.candidates.sample_cost",
    "ablate.segment": "ablate.worker.trial_run",
    "ablate.signatures": "ablate.spec.signatures",
    "ablate.snapshots": "ablate.training.snapshots",
    "ablate.sources": "ablate.worker.sources",
    "ablate.space": "ablate.candidates.space",
    "ablate.states": "ablate.runtime.states",
    "ablate.stdout": "ablate.runtime.stdout",
    "ablate.study.remeasure": "ablate.study.evaluate",
    "ablate.text": "ablate.io.text",
    "ablate.torch_states": "ablate.runtime.torch_states",
    "ablate.train": "ablate.training.learner",
    "ablate.training": "ablate.training.loop",
    "ablate.trial": "ablate.candidates.trial",
    "ablate.vary": "ablate.candidates.vary",
    "ablate.vitals": "ablate.training.health",
    "ablate.weights": "ablate.io.weights",
    "ablate_zoo.modules.attention": "ablate_zoo.layers.attention",
    "ablate_zoo.modules.averaging": "ablate_zoo.ema._averages",
    "ablate_zoo.modules.clipping": "ablate_zoo.clip._clipping",
    "ablate_zoo.modules.condition": "ablate_zoo.layers.embedding",
    "ablate_zoo.modules.dinov2": "ablate_zoo.features._dinov2",
    "ablate_zoo.modules.dit": "ablate_zoo.backbone._transformer_modules",
    "ablate_zoo.modules.efficientnet_lite": "ablate_zoo.features._efficientnet_lite",
    "ablate_zoo.modules.embedding": "ablate_zoo.layers.embedding",
    "ablate_zoo.modules.fourier": "ablate_zoo.layers.fourier",
    "ablate_zoo.modules.frequency": "ablate_zoo.fusion._modules",
    "ablate_zoo.modules.fusion_add": "ablate_zoo.fusion._modules",
    "ablate_zoo.modules.fusion_attention": "ablate_zoo.layers.skip_attention",
    "ablate_zoo.modules.fusion_concat": "ablate_zoo.fusion._modules",
    "ablate_zoo.modules.fusion_gated": "ablate_zoo.fusion._modules",
    "ablate_zoo.modules.fusion_skip": "ablate_zoo.fusion._modules",
    "ablate_zoo.modules.gates": "ablate_zoo.gate._modules",
    "ablate_zoo.modules.inception": "ablate_zoo.features._inception",
    "ablate_zoo.modules.joint_optimizer": "ablate_zoo.optimizer._joint",
    "ablate_zoo.modules.linear_attention": "ablate_zoo.layers.attention",
    "ablate_zoo.modules.maps": "ablate_zoo.backbone._unet_modules",
    "ablate_zoo.modules.mixed": "ablate_zoo.precision._mixed",
    "ablate_zoo.modules.mlp": "ablate_zoo.layers.mlp",
    "ablate_zoo.modules.mlp_cpu": "ablate_zoo.layers.mlp",
    "ablate_zoo.modules.modulation": "ablate_zoo.layers.norms",
    "ablate_zoo.modules.noisy_classifier": "ablate_zoo.guidance._noisy_classifier",
    "ablate_zoo.modules.norms": "ablate_zoo.layers.norms",
    "ablate_zoo.modules.positions": "ablate_zoo.positions._modules",
    "ablate_zoo.modules.post_hoc": "ablate_zoo.ema._post_hoc",
    "ablate_zoo.modules.probes": "ablate_zoo.probe._sites",
    "ablate_zoo.modules.probes_pass": "ablate_zoo.probe._pass",
    "ablate_zoo.modules.probes_step": "ablate_zoo.probe._step",
    "ablate_zoo.modules.resblock": "ablate_zoo.backbone._unet_modules",
    "ablate_zoo.modules.small_classifier": "ablate_zoo.features._small_classifier",
    "ablate_zoo.modules.transformer": "ablate_zoo.backbone._transformer_modules",
    "ablate_zoo.modules.transformer_block": "ablate_zoo.backbone._transformer_modules",
    "ablate_zoo.modules.unet": "ablate_zoo.backbone._unet_modules",
    "ablate_zoo.modules.uvit": "ablate_zoo.backbone._uvit_modules",
    "ablate_zoo.optimizer._moments": "ablate_zoo.optimizer._decaying",
}


def moved_module(error: BaseException) -> str | None:
    """Say in one sentence where the module stands now that `error` did not find; None for any other error."""
    if not isinstance(error, ImportError) or error.name is None:
        return None
    member = re.search(r"cannot import name '(\w+)'", str(error))
    for name in (f"{error.name}.{member[1]}" if member else "", error.name):
        if name in MOVED:
            return f"{name} is now {MOVED[name]}; what ablate.api has is best imported from there"
    return None
