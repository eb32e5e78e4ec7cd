"""Surgery in place: what a network holds besides its weights is there afterwards, too."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

from icnn_core import IrregularConv2d, make_irregular, read_checkpoint, write_checkpoint
from icnn_core.checkpoint import build_model
from icnn_core.interception import copy_module
from icnn_core.surgery import irregular_layers, make_regular

X = torch.randn(2, 4, 9, 8, generator=torch.Generator().manual_seed(0))


class Padded(nn.Conv2d):
    """Pads by itself, as TensorFlow's "same" does."""

    def forward(self, x):
        return F.conv2d(
            F.pad(x, (0, 1, 2, 1)), self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )


class Standardised(nn.Conv2d):
    """Computes its weight, as normaliser-free ResNets do; reaches conv2d through its base class."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.gain = nn.Parameter(torch.full((self.out_channels, 1, 1, 1), 1.5))

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight * self.gain, self.bias)


class Normed(nn.Conv2d):
    """A convolution with its norm and activation, keyword arguments, and a convolution of another shape besides."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.norm = nn.BatchNorm2d(self.out_channels)

    def forward(self, x):
        out = F.conv2d(input=x, weight=self.weight, bias=self.bias, stride=self.stride, padding=self.padding)
        return F.relu(
            self.norm(F.conv2d(out, out.new_ones(self.out_channels, 1, 1, 1), groups=self.out_channels))
        )


class Doubled(nn.Conv2d):
    """Says what it does in `_conv_forward`, where PyTorch's own subclasses do."""

    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, 2 * weight, bias)


class Plain(nn.Conv2d):
    pass


class SaysSame(nn.Conv2d):
    """Says in the call what its constructor did not: a word for the padding; lists, also of one number."""

    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias, [1], "same", [1, 1], self.groups)


class Folded(nn.Conv2d):
    """A batch folded into channels and groups, as networks do whose weight depends on the image."""

    def forward(self, x):
        weight = self.weight.expand(len(x), *self.weight.shape).flatten(0, 1)
        return F.conv2d(x.flatten(0, 1)[None], weight, groups=len(x)).unflatten(1, (len(x), -1))[0]


class Twice(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, self.weight) + F.conv2d(x, self.weight.flip(-1))


class Never(nn.Conv2d):
    def forward(self, x):
        return x * self.weight.sum()


class Wider(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias, dilation=2)


class Broken(nn.Conv2d):
    def forward(self, x):
        raise KeyError("scale")


def moved(layer):
    with torch.no_grad():
        layer.positions.add_(0.3)
    return layer


@pytest.mark.parametrize("kind", [Plain, Padded, Standardised, Normed, Doubled])
def test_a_subclass_keeps_its_own_forward(kind):
    torch.manual_seed(0)
    conv = kind(4, 6, (3, 2), stride=(2, 1), bias=kind is not Normed)
    layer = IrregularConv2d.from_conv2d(conv, shift=0.0)
    assert isinstance(layer, kind)
    torch.testing.assert_close(layer(X), conv(X), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.to_conv2d()(X), conv(X), rtol=0, atol=0)
    assert type(layer.to_conv2d()) is kind
    out = moved(layer)(X)
    assert not torch.allclose(out, conv(X), atol=1e-2), "its positions count"
    out.square().sum().backward()
    assert (layer.positions.grad.abs().sum((1, 2)) > 0).all()
    assert layer.weight.grad.abs().sum() > 0
    torch.testing.assert_close(copy.deepcopy(layer)(X), out)


@pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths:UserWarning"
)  # conv2d's own
@pytest.mark.parametrize("kernel", [3, (4, 3)])
def test_the_padding_counts_that_a_subclass_says_in_its_call(kernel):
    network = nn.Sequential(SaysSame(4, 6, kernel))
    expected = network(X)
    assert make_irregular(network, shift=0.0).replaced == ("0",)
    torch.testing.assert_close(network(X), expected, rtol=1e-5, atol=1e-6)


def test_every_convolution_of_timm_is_the_same_at_its_slots_and_moves():
    pytest.importorskip("timm.layers", reason="timm is not installed")
    kinds = [kind for kind in nn.Conv2d.__subclasses__() if kind.__module__.startswith("timm.")]
    assert {"Conv2dSame", "StdConv2d", "StdConv2dSame", "ScaledStdConv2dSame"} <= {k.__name__ for k in kinds}
    for kind in kinds:
        torch.manual_seed(0)
        network = nn.Sequential(kind(4, 6, (3, 2), stride=(2, 1)))
        expected = network(X)
        assert make_irregular(network, shift=0.0).replaced == ("0",), kind
        torch.testing.assert_close(network(X), expected, rtol=1e-5, atol=1e-5)
        moved(network[0])
        assert not torch.allclose(network(X), expected, atol=1e-2), kind


def test_a_moved_subclass_is_its_weight_at_the_moved_positions():
    conv = Standardised(4, 6, 3)
    layer = moved(IrregularConv2d.from_conv2d(conv, shift=0.0))
    plain = nn.Conv2d(4, 6, 3)
    with torch.no_grad():
        plain.weight.copy_((conv.weight - conv.weight.mean((1, 2, 3), keepdim=True)) * conv.gain)
        plain.bias.copy_(conv.bias)
    by_hand = moved(IrregularConv2d.from_conv2d(plain, shift=0.0))
    torch.testing.assert_close(layer(X), by_hand(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Twice, "2 times"),
        (Never, "0 times"),
        (Folded, "0 times"),
        (Wider, "another dilation"),
        (Broken, "failed.*KeyError"),
    ],
)
def test_a_forward_that_cannot_be_followed_is_skipped_with_the_reason(kind, reason):
    model = nn.Sequential(kind(4, 4, 3), nn.Conv2d(4, 4, 3))
    surgery = make_irregular(model)
    assert surgery.replaced == ("1",)
    assert kind.__name__ in surgery.skipped["0"]
    with pytest.raises(Exception, match=reason):
        raise RuntimeError(surgery.skipped["0"])
    assert type(model[0]) is kind


def test_a_forward_replaced_on_the_module_is_skipped():
    model = nn.Sequential(nn.Conv2d(4, 4, 3))
    model[0].forward = lambda x: x + 1
    assert "replaced" in make_irregular(model).skipped["0"]
    assert torch.equal(model(X), X + 1)


def test_the_trial_of_a_subclass_leaves_it_as_it_was():
    conv = Normed(4, 6, 3)
    before = copy.deepcopy(conv.state_dict())
    conv.register_forward_hook(lambda *_: pytest.fail("hooks do not run"))
    IrregularConv2d.from_conv2d(conv)
    assert all(torch.equal(before[k], v) for k, v in conv.state_dict().items())


def parametrised(conv, how):
    if how == "pruned":
        prune.l1_unstructured(conv, "weight", amount=0.5)
        prune.l1_unstructured(conv, "bias", amount=3)
        return conv
    return {"weight": weight_norm, "spectral": spectral_norm, "orthogonal": orthogonal}.get(
        how, nn.utils.weight_norm
    )(conv)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
@pytest.mark.parametrize("kind", [nn.Conv2d, Padded])
@pytest.mark.parametrize("how", ["weight", "spectral", "orthogonal", "old weight norm", "pruned"])
def test_computed_weights_stay_computed(how, kind):
    torch.manual_seed(0)
    model = nn.Sequential(parametrised(kind(4, 6, 3), how)).eval()
    before = model(X)
    names = {name for name, _ in model.named_parameters()}
    assert make_irregular(model, shift=0.0).replaced == ("0",)
    torch.testing.assert_close(model(X), before, rtol=1e-5, atol=1e-5)
    assert {name for name, _ in model.named_parameters()} == names | {"0.positions"}
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(X).square().mean().backward()
    optimizer.step()
    if how == "pruned":
        model(X)
        assert (model[0].weight[model[0].weight_mask == 0] == 0).all()
        assert (model[0].bias == 0).sum() == 3
    after = model.eval()(X)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(copy_module(model)(X), after)
    assert make_regular(model) == ("0",)
    assert {name for name, _ in model.named_parameters()} == names
    assert isinstance(model[0], kind)


def test_a_parametrisation_can_be_taken_off_an_irregular_layer():
    torch.manual_seed(0)
    model = nn.Sequential(weight_norm(nn.Conv2d(4, 6, 3)))
    make_irregular(model, shift=0.3)
    before = model(X)
    parametrize.remove_parametrizations(model[0], "weight")
    assert type(model[0]) is IrregularConv2d
    torch.testing.assert_close(model(X), before)


def test_a_layer_with_parametrised_positions_outlives_its_regular_copy():
    class Near(nn.Module):
        def forward(self, positions):
            return positions.clamp(-0.9, 0.9)

    torch.manual_seed(0)
    layer = IrregularConv2d(4, 6, 3, shift=0.3)
    parametrize.register_parametrization(layer, "positions", Near())
    before = layer(X)
    assert type(layer.to_conv2d()) is nn.Conv2d
    torch.testing.assert_close(layer(X), before, rtol=0, atol=0)
    weighed = IrregularConv2d.from_conv2d(weight_norm(nn.Conv2d(4, 6, 3)))
    parametrize.remove_parametrizations(copy_module(weighed), "weight")
    assert torch.isfinite(weighed(X)).all()


@pytest.mark.parametrize("kind", [Padded, Standardised])
def test_an_irregular_subclass_can_be_pickled(kind):
    torch.manual_seed(0)
    model = nn.Sequential(kind(4, 6, 3))
    make_irregular(model, shift=0.3)
    model[0].register_forward_pre_hook(_doubled)
    again = pickle.loads(pickle.dumps(model))
    assert isinstance(again[0], kind)
    torch.testing.assert_close(again(X), model(X), rtol=0, atol=0)
    with torch.no_grad():
        again[0].positions.add_(1)
    assert not torch.equal(again[0].positions, model[0].positions)


def _doubled(module, arguments):
    return tuple(2 * each for each in arguments)


def test_two_convolutions_with_one_weight_keep_it():
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model(X)
    make_irregular(model, shift=0.0)
    assert model[0].weight is model[1].weight
    torch.testing.assert_close(model(X), before, rtol=1e-5, atol=1e-5)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {id(p) for name, p in model.named_parameters() if "positions" not in name} == held


class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.again = self.first
        self.unregistered = [self.first]

    def forward(self, x):
        return self.unregistered[0](self.again(self.first(x)))


def test_a_module_under_two_names_stays_one(tmp_path):
    model = Reused()
    before = model(X)
    assert make_irregular(model, shift=0.0).replaced == ("first", "again")
    assert model.first is model.again is model.unregistered[0]
    torch.testing.assert_close(model(X), before, rtol=1e-5, atol=1e-5)
    moved(model.first)
    write_checkpoint(tmp_path / "tied.pt", model)
    built = build_model(read_checkpoint(tmp_path / "tied.pt"), Reused)
    count = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in built.parameters()) == count
    torch.testing.assert_close(built(X), model(X))
    assert make_regular(model) == ("first",)
    torch.testing.assert_close(model(X), before)


def test_hooks_stay():
    model, calls = nn.Sequential(nn.Conv2d(4, 4, 3)), []
    model[0].register_forward_pre_hook(lambda *_: calls.append("before"))
    model[0].register_forward_hook(lambda *_: calls.append("after"))
    model[0].register_full_backward_hook(lambda *_: calls.append("gradient"))
    model[0].weight.register_hook(lambda gradient: gradient * 0)
    make_irregular(model)
    model(X.clone().requires_grad_()).sum().backward()
    assert calls == ["before", "after", "gradient"]
    assert (model[0].weight.grad == 0).all()
    assert model[0].positions.grad.abs().sum() > 0


def test_an_option_out_of_range_leaves_the_convolution():
    model = nn.Sequential(nn.Conv2d(4, 4, 3))
    with pytest.raises(Exception, match="shift"):
        make_irregular(model, shift=-1.0)
    assert type(model[0]) is nn.Conv2d
    assert not irregular_layers(model)
    assert list(model.state_dict()) == ["0.weight", "0.bias"]


def test_a_subclass_compiles_and_exports():
    torch.manual_seed(0)
    model = nn.Sequential(Padded(4, 6, 3), nn.ReLU(), Standardised(6, 5, (3, 2))).eval()
    make_irregular(model, shift=0.3)
    out = model(X)
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="aot_eager")(X), out)
    torch.testing.assert_close(torch.export.export(model, (X,)).module()(X), out, rtol=1e-4, atol=1e-5)
