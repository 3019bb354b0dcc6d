"""Fields made of ordinary numbers, for tests."""

from __future__ import annotations

import numpy as np

from fcp_runtime.fields import FLOW_SCALE, LOGIT_SCALE


def fixed_flow(values):
    """Return a flow in pixels a step in fixed point, rounded, saturating at the ends of its range."""
    return np.clip(np.rint(values * FLOW_SCALE), -128, 127).astype(np.int8)


def fixed_logit(values):
    """Return a logit in fixed point, rounded, saturating at the ends of its range."""
    return np.clip(np.rint(values * LOGIT_SCALE), -32768, 32767).astype(np.int16)
