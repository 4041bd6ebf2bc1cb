# Run once, before the machine is frozen. What is imported and touched here is in every fork's memory
# already; names defined here are there for `spore eval`.
import math
import random

import numpy
import numpy as np

# The first use of each of these loads a library or fills a cache: the linear algebra, the transforms, the
# generator, and the code that prints arrays.
_a = np.random.default_rng(0).standard_normal((64, 64))
np.linalg.solve(_a, _a @ _a)
np.linalg.svd(_a)
np.fft.rfft(_a)
np.sort(_a, axis=None).cumsum().mean()
np.einsum("ij,jk->ik", _a, _a)
repr(_a), str(np.arange(4)), np.array2string(_a[:2, :2], precision=3)
random.random(), math.sqrt(2.0)
del _a
