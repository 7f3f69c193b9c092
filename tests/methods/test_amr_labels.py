"""AMR with labels in the loss: whose gradient the classifier's is, and what unlabelled images train."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from latentmix.methods import Batch
from latentmix.methods.amr import AMR
from latentmix.methods.amr_labels import AMRLabels
from latentmix.mixing import Mix
from latentmix.networks.mlp import MLP

SHAPE, NETWORK = (1, 4, 4), MLP(d_h=5, width=16)


def build(cls=AMRLabels, **options):
    torch.manual_seed(0)
    return cls(SHAPE, 3, network=NETWORK, **options).double().eval()


def batch(y=(0, 1, 2, 0, 1, 2)):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, *SHAPE, generator=generator, dtype=torch.float64) * 2 - 1
    return Batch(x, y=torch.tensor(y), generator=generator)


def gradients(method, data, player="autoencoder"):
    return torch.autograd.grad(method.losses(data)[0][player], list(getattr(method, player).parameters()))


def test_losses_are_amrs_and_the_classifiers():
    method = build(c=2.0)
    plain = build(AMR)
    plain.load_state_dict(method.state_dict(), strict=False)
    cross = F.cross_entropy(method.classifier(method.encode(batch().x)), batch().y)
    ours, theirs = method.losses(batch())[0], plain.losses(batch())[0]
    torch.testing.assert_close(ours["autoencoder"], theirs["autoencoder"] + 2 * cross)
    torch.testing.assert_close(ours["critic"], theirs["critic"])
    torch.testing.assert_close(ours["classifier"], cross)
    torch.testing.assert_close(ours["probe"], theirs["probe"])


def test_the_classifiers_gradient_reaches_the_encoder_and_not_the_decoder():
    method = build()
    loss = method.losses(batch())[0]["classifier"]
    reached = torch.autograd.grad(loss, list(method.autoencoder.encoder.parameters()), retain_graph=True)
    assert any(g.abs().sum() > 0 for g in reached)
    decoder = torch.autograd.grad(loss, list(method.autoencoder.decoder.parameters()), allow_unused=True)
    assert all(g is None for g in decoder)


def test_unlabelled_images_train_reconstruction_and_adversary_only():
    method, unlabelled = build(c=5.0), batch(y=(-1,) * 6)
    plain = build(AMR)
    plain.load_state_dict(method.state_dict(), strict=False)
    for ours, theirs in zip(gradients(method, unlabelled), gradients(plain, unlabelled_free(unlabelled))):
        torch.testing.assert_close(ours, theirs)
    assert all(not g.any() for g in gradients(method, batch(y=(-1,) * 6), "classifier"))
    assert all(not g.any() for g in gradients(method, batch(y=(-1,) * 6), "probe"))


def unlabelled_free(data):
    return dataclasses.replace(data, y=torch.zeros(6, dtype=torch.long), generator=batch().generator)


def test_the_mean_is_over_labelled_images():
    method = build()
    some = method.losses(batch(y=(0, -1, 2, -1, -1, 1)))[1]["classification"]
    h = method.encode(batch().x)[[0, 2, 5]]
    torch.testing.assert_close(some, F.cross_entropy(method.classifier(h), torch.tensor([0, 2, 1])))


def test_mixes_are_read_as_classes_of_their_parents():
    plain, method = build(mixer=Halves()), build(c_mix=3.0, mixer=Halves())
    method.load_state_dict(
        {key.replace("critic.", "critic.adversary."): value for key, value in plain.state_dict().items()},
        strict=False,
    )
    data = batch(y=(0, 1, 2, 0, 1, -1))
    theirs, (losses, values) = plain.losses(data)[0], method.losses(data)
    h = method.encode(data.x)
    mixes = method.decode((h + h.roll(1, 0)) / 2)
    p = method.critic.classify(mixes).softmax(1)
    # The parents of the mixes: 0 and -1, 1 and 0, 2 and 1, 0 and 2, 1 and 0, -1 and 1; two do not count.
    either = torch.stack([p[1, 0] + p[1, 1], p[2, 1] + p[2, 2], p[3, 0] + p[3, 2], p[4, 0] + p[4, 1]])
    torch.testing.assert_close(values["class_mix"], -either.log().mean())
    real = F.cross_entropy(method.critic.classify(data.x)[:5], data.y[:5])
    torch.testing.assert_close(values["class_real"], real)
    torch.testing.assert_close(losses["critic"], theirs["critic"] + real)
    torch.testing.assert_close(losses["autoencoder"], theirs["autoencoder"] + 3 * values["class_mix"])
    nobody = method.losses(batch(y=(-1,) * 6))[0]
    assert all(loss.isfinite() for loss in nobody.values())
    decoder = list(method.autoencoder.decoder.parameters())
    reached = torch.autograd.grad(values["class_mix"], decoder, retain_graph=True)
    assert any(g.any() for g in reached)


class Halves:
    """Mix each image, half and half, with the one before it."""

    def __call__(self, h, generator=None):
        rows = torch.arange(len(h))
        return Mix(torch.stack([rows, rows.roll(1)]), torch.full((2, len(h)), 0.5, dtype=h.dtype))


@pytest.mark.parametrize(("depth", "layers"), [(0, 1), (1, 2), (3, 4)])
def test_depth_is_the_number_of_hidden_layers(depth, layers):
    classifier = build(depth=depth).classifier
    assert sum(isinstance(m, torch.nn.Linear) for m in classifier.modules()) == layers


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AMRLabels(SHAPE, None), "needs data with labels"),
        (lambda: build(depth=-1), "depth=-1"),
        (lambda: build(c_mix=-1.0), "c_mix=-1"),
        (lambda: build().begin(torch.zeros(1), torch.tensor([0, 1, 2, 3, 0, 0])), "0 to 2, or are -1"),
        (lambda: build().begin(torch.zeros(1), torch.tensor([0, 1, -2, 1, 0, 0])), "got -2 to 1"),
        (lambda: build().losses(dataclasses.replace(batch(), y=None)), "label -1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_labels_and_images_without_one_are_accepted():
    build().begin(torch.zeros(1), torch.tensor([0, -1, 2]))


def test_the_training_learns_from_the_labels_that_there_are():
    method = build()
    data = batch(y=(0, -1, 2, -1, -1, 1))
    h = method.encode(data.x)
    known = data.y >= 0
    expected = F.cross_entropy(method.probe(h[known].detach()), data.y[known])
    torch.testing.assert_close(method.probe_losses(h, data)["probe"], expected)
    nobody = batch(y=(-1,) * 6)
    loss = method.probe_losses(h, nobody)["probe"]
    assert loss == 0
    assert not any(g.any() for g in torch.autograd.grad(loss, list(method.probe.parameters())))
