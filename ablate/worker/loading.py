"""Loading the data of a job: once a process, and again where the files have changed since."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from ablate.discovery.catalog import Catalog
from ablate.kinds.data import Data, Dataset, load_data
from ablate.kinds.executor import Job
from ablate.spec.slots import create
from ablate.training.learner import Images
from ablate.worker import datasets


def data_of(job: Job, catalog: Catalog) -> Data:
    """Create the data component of a job."""
    return create(Data, job["data"], catalog)


@lru_cache(maxsize=2)
def dataset_of(data: Data, cache: str) -> Dataset:
    """Load the images, once a process."""
    return load_data(data, Path(cache))


@lru_cache(maxsize=2)
def images_of(data: Data, cache: str, device: torch.device) -> Images:
    """Copy the training images to their device, once a process."""
    return Images(dataset_of(data, cache), device, cache=Path(cache))


def dataset_for(job: Job, data: Data) -> Dataset:
    """Return the images of a job. Raises OtherDataError where they are not those that the job was made for."""
    dataset = dataset_of(data, job["cache"])
    if job.get("data_hash") not in (None, dataset.hash):  # this process may have cached what lay there earlier
        dataset_of.cache_clear()
        images_of.cache_clear()
        dataset = dataset_of(data, job["cache"])
    datasets.check(job, data, dataset)
    return dataset
