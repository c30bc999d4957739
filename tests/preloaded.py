"""What the server that forks drivers imports: all libraries, and nothing is run, so that no thread is there to be lost."""

import os
import signal

# A process that is forked begins with this, whatever of its own it still has to import: until it has handlers of its
# own the system ends it, and Python does not raise in the middle of that.
signal.signal(signal.SIGINT, signal.SIG_DFL)

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import dask.callbacks
import dask.threaded
import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.special
import sklearn.calibration
import sklearn.compose
import sklearn.decomposition
import sklearn.ensemble
import sklearn.linear_model
import sklearn.neural_network
import sklearn.pipeline
import stamina

import batchscore.answers.scoring
import batchscore.check
import batchscore.cli
import batchscore.cluster.threads
import batchscore.metrics.push
import batchscore.model.joblib
import batchscore.store.probe

batchscore.check.versions()  # what it looks up is looked up once

__all__ = ["batchscore", "dask", "joblib", "np", "pa", "pd", "scipy", "sklearn", "stamina"]
