# Run once in the kernel, before the machine is frozen. What is imported and used here is in every fork's memory already;
# names defined here are there for all calls.
import json
import math
import os
import random
import re
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

# The first use of each of these loads a library or fills a cache: tables and how they are shown, linear algebra, what shows
# errors, and the fonts, lines and PNG of a plot.
_table = pd.DataFrame({"group": ["a", "b", "a"], "value": [1.0, 2.0, 4.0]})
_table.groupby("group").value.agg(["mean", "std"])
repr(_table), repr(_table.describe())
pd.read_csv(__import__("io").StringIO(_table.to_csv()))
np.linalg.solve(np.eye(8) + 1, np.random.default_rng(0).standard_normal(8))
get_ipython().run_cell("1 / 0", silent=True)
_figure, _axes = plt.subplots()
_axes.plot(_table.value, label="warm")
_axes.set_title("warm")
_axes.legend()
_figure.savefig(__import__("io").BytesIO(), format="png")
plt.close(_figure)
del _table, _figure, _axes
