"""Which rule follows which operation.

Where values of the image decide, all candidates count alike: max pools, softmax, largest values and matrix products of
two such tensors average; functions of one element and gates pass on with slope 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from icnn_viz.gradients.structure import elements, layers
from icnn_viz.gradients.structure.call import Call

Rule = Callable[[Call], Any]

CONSTANTS = {
    *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like"),
    *("new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided", "is_same_size"),
}
"""What takes no more than the size of its arguments."""

_NAMES: dict[Rule, str] = {
    elements.linear: """
        cat stack sum nansum mean cumsum trace clone constant_pad_nd flip roll rot90 repeat tril triu diag_embed
        index index_select gather take scatter scatter_add index_add index_copy index_put masked_select masked_scatter
        slice_scatter select_scatter diagonal_scatter embedding unfold_copy _unsafe_view _reshape_alias
        im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle resolve_conj resolve_neg
        avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
        reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
        upsample_linear1d upsample_bilinear2d upsample_trilinear3d _upsample_bilinear2d_aa
        upsample_nearest1d upsample_nearest2d upsample_nearest3d
        _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d""",
    elements.pointwise: """
        _prelu_kernel rrelu_with_noise log_sigmoid_forward native_dropout hardtanh hardswish hardsigmoid softplus
        threshold elu leaky_relu nan_to_num complex""",
    elements.add: "add sub rsub",
    elements.mul: "mul",
    elements.div: "div",
    elements.addcmul: "addcmul",
    elements.where: "where",
    elements.masked_fill: "masked_fill",
    elements.fill: "fill zero",
    elements.copy: "copy",
    elements.to_copy: "_to_copy",
    elements.alias: "detach alias lift_fresh",
    elements.as_strided: "as_strided",
    elements.glu: "glu",
    elements.reduce: """
        amax amin max min aminmax argmax argmin logsumexp var std var_mean std_mean linalg_vector_norm norm prod any all
        median nanmedian mode kthvalue count_nonzero""",
    elements.along: "sort topk argsort cummax cummin cumprod logcumsumexp _fft_r2c _fft_c2c _fft_c2r",
    elements.decide: "_local_scalar_dense nonzero equal is_nonzero",
    elements.softmax: "_softmax _safe_softmax _log_softmax",
    layers.product("self", "mat2"): "mm bmm",
    layers.product("self", "vec"): "mv",
    layers.product("self", "tensor"): "dot",
    layers.product("mat1", "mat2"): "addmm",
    layers.product("batch1", "batch2"): "baddbmm",
    layers.product("mat", "vec"): "addmv",
    layers.convolution: "convolution",
    layers.irregular: "sampled_conv2d sparse_conv2d fused_conv2d",
    layers.deformed: "deform_conv2d",
    layers.batch_norm: """
        native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm
        miopen_batch_norm _batch_norm_no_update _batch_norm_with_update""",
    layers.layer_norm: "native_layer_norm _fused_rms_norm",
    layers.group_norm: "native_group_norm",
    layers.max_pool: "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices",
    layers.adaptive_max_pool: "adaptive_max_pool2d adaptive_max_pool3d",
    layers.max_unpool: "max_unpool2d max_unpool3d",
    layers.bicubic: "upsample_bicubic2d _upsample_bicubic2d_aa",
    layers.grid_sample: "grid_sampler_2d grid_sampler_3d cudnn_grid_sampler",
}
_RULES: dict[str, Rule] = {name: rule for rule, names in _NAMES.items() for name in names.split()}


def find_rule(func: Any, name: str) -> Rule | None:
    """The rule of an operation by its bare name, or None if it is not known."""
    if name in _RULES:
        return _RULES[name]
    if torch.Tag.pointwise in func.tags:
        return elements.pointwise
    is_view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
    return elements.linear if is_view else None
