"""The published graph head against a plain, slow reference: one face, one pair, one token at a time."""

import math

import pytest
import torch
from torch import Tensor

from data_modules.batch import FaceShape
from fau_mae import losses
from fau_mae.models.backbone.encoder import Latents
from fau_mae.models.heads import pair_attention
from fau_mae.models.heads.me_graphau import MEGraphAU, MEGraphAUOptions

A, C, D, V = 3, 8, 6, 5
FACES = FaceShape(48, 4, A * ((0.0, 0.0, 1.0, 1.0),), "canonical")


def make_head(seed: int = 0) -> MEGraphAU:
    """A head in double precision whose norms and running statistics are nothing special."""
    torch.manual_seed(seed)
    head = MEGraphAU(D, (0, 1), FACES, MEGraphAUOptions(node_width=C)).double()
    for name, value in [*head.named_parameters(), *head.named_buffers()]:
        if "norm" in name:
            value.data.copy_(torch.rand_like(value) + 0.5 if "var" in name else torch.randn_like(value))
    return head


def make_latents(counts: list[int]) -> Latents:
    """Latents of faces with these numbers of visible tokens, padding full of large numbers."""
    valid = torch.arange(V).expand(len(counts), V) < torch.tensor(counts)[:, None]
    layers = [torch.where(valid[..., None], torch.randn(len(counts), V, D).double(), 1e3) for _ in range(2)]
    positions = torch.arange(V).expand(len(counts), V)
    return Latents(layers[-1], positions, layers, None if valid.all() else valid, layers[-1][:, 0])


class Reference:
    """The equations on lists of vectors; batch norm by its definition, over the real entries alone."""

    def __init__(self, head: MEGraphAU, training: bool):
        self.head, self.training = head, training

    def norm(self, norm, channel: tuple[int, ...], values: list[Tensor]) -> list[Tensor]:
        """Normalise the entries of one channel of a batch norm, all faces together."""
        mean, var = norm.running_mean[channel], norm.running_var[channel]
        if self.training:
            numbers = torch.cat([value.flatten() for value in values])
            mean, var = numbers.mean(), ((numbers - numbers.mean()) ** 2).mean()
        return [
            (v - mean) / torch.sqrt(var + 1e-5) * norm.weight[channel] + norm.bias[channel] for v in values
        ]

    def token_norm(self, norm, tokens: list[list[Tensor]]) -> list[list[Tensor]]:
        """(face, token) vectors, one channel per number, then ReLU."""
        columns = [
            self.norm(norm, (k,), [token[k : k + 1] for face in tokens for token in face])
            for k in range(norm.weight.numel())
        ]
        flat = [torch.cat([column[i] for column in columns]).relu() for i in range(len(columns[0]))]
        out, start = [], 0
        for face in tokens:
            out.append(flat[start : start + len(face)])
            start += len(face)
        return out

    @staticmethod
    def attend(attention, queries: list[Tensor], others: list[Tensor]) -> list[Tensor]:
        out = []
        for query in queries:
            scores = [attention.query(query) @ attention.key(o) / math.sqrt(C / 2) for o in others]
            weights = torch.stack(scores).exp()
            weights = weights / weights.sum()
            out.append(sum(w * attention.value(o) for w, o in zip(weights, others)))
        return out

    def __call__(self, latents: Latents, counts: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        head, faces = self.head, range(len(counts))
        raw = [
            [
                head.reduce(torch.cat([n(layer[b, t]) for n, layer in zip(head.norms, latents.layers)]))
                for t in range(counts[b])
            ]
            for b in faces
        ]
        x = self.token_norm(head.reduce_norm, raw)
        wide = self.token_norm(head.au_norm, [[head.au_features(t) for t in face] for face in x])
        features = [[[t[a * C : (a + 1) * C] for t in face] for a in range(A)] for face in wide]
        nodes = [[torch.stack(tokens).mean(0) for tokens in face] for face in features]
        shown = [[self.attend(head.fam, features[b][a], x[b]) for a in range(A)] for b in faces]
        edges: list[list[list[Tensor]]] = [[[None] * A for _ in range(A)] for _ in faces]
        for i in range(A):
            for j in range(A):
                common = [
                    [head.edge(v) for v in self.attend(head.arm, shown[b][j], shown[b][i])] for b in faces
                ]
                flat = iter(self.norm(head.edge_norm, (i, j, 0), [v for face in common for v in face]))
                for b in faces:
                    edges[b][i][j] = torch.stack([next(flat) for _ in common[b]]).mean(0)
        for layer in head.gcn:
            nodes, edges = self.gcn(layer, nodes, edges)
        p = torch.stack(
            [
                torch.stack([self.cosine(nodes[b][a], head.prototypes[a].relu()) for a in range(A)])
                for b in faces
            ]
        )
        return (
            p,
            torch.stack([torch.stack(face) for face in nodes]),
            torch.stack([torch.stack([torch.stack(row) for row in face]) for face in edges]),
        )

    def gcn(self, layer, nodes, edges):
        faces = range(len(nodes))
        new_edges = [[[None] * A for _ in range(A)] for _ in faces]
        for i in range(A):
            for j in range(A):
                raw = [
                    layer.edge_end(nodes[b][i])
                    + layer.edge_start(nodes[b][j])
                    + layer.edge_self(edges[b][i][j])
                    for b in faces
                ]
                for b, value in zip(faces, self.norm(layer.edge_norm, (i, j, 0), raw)):
                    new_edges[b][i][j] = edges[b][i][j] + value.relu()
        new_nodes = [[None] * A for _ in faces]
        for i in range(A):
            raw = []
            for b in faces:
                gates = torch.stack([torch.sigmoid(new_edges[b][i][j]) for j in range(A)]).exp()
                gates = gates / gates.sum(0)
                heard = sum(gates[j] * layer.node_other(nodes[b][j]) for j in range(A)) / A
                raw.append(layer.node_self(nodes[b][i]) + heard)
            for b, value in zip(faces, self.norm(layer.node_norm, (i, 0), raw)):
                new_nodes[b][i] = (nodes[b][i] + value).relu()
        return new_nodes, new_edges

    @staticmethod
    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize("counts", [[5, 5], [2, 5, 1]], ids=["equal", "padded"])
def test_forward_equals_the_reference(training: bool, counts: list[int]) -> None:
    head, latents = make_head().train(training), make_latents(counts)
    p, nodes, edges = Reference(head, training)(latents, counts)
    output = head(latents)
    torch.testing.assert_close(output.logits.sigmoid(), p, atol=1e-5, rtol=1e-5, check_dtype=False)
    torch.testing.assert_close(output.nodes, nodes, atol=1e-5, rtol=1e-5, check_dtype=False)
    torch.testing.assert_close(output.edges, edges, atol=1e-5, rtol=1e-5, check_dtype=False)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize("counts", [[5, 5], [2, 5, 1]], ids=["equal", "padded"])
def test_gradients_equal_the_reference(training: bool, counts: list[int]) -> None:
    head, latents = make_head(3).train(training), make_latents(counts)
    weights = [torch.randn(len(counts), *shape).double() for shape in ((A,), (A, C), (A, A, C))]
    gradients = []
    for values in (Reference(head, training)(latents, counts), None):
        if values is None:
            output = head(latents)
            values = output.logits.sigmoid(), output.nodes, output.edges
        head.zero_grad()
        torch.stack([(w * value).sum() for w, value in zip(weights, values)]).sum().backward()
        gradients.append({name: p.grad for name, p in head.named_parameters() if p.grad is not None})
    plain, ours = gradients
    assert ours.keys() == plain.keys()
    for name in plain:
        torch.testing.assert_close(ours[name], plain[name], atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("held", [1, 1 << 20], ids=["one face at once", "all at once"])
@pytest.mark.parametrize("padded", [False, True])
def test_attention_of_pairs_equals_the_one_that_is_written_out(
    monkeypatch: pytest.MonkeyPatch, held: int, padded: bool
) -> None:
    monkeypatch.setitem(pair_attention.HELD, "cpu", held)
    torch.manual_seed(0)
    queries, keys, values = (torch.randn(2, A, V, r, requires_grad=True) for r in (4, 4, C))
    valid = torch.arange(V) < torch.tensor([[V], [2]]) if padded else torch.ones(2, V, dtype=torch.bool)
    scores = queries[:, None] @ keys[:, :, None].transpose(-1, -2)  # (B, A, A, V, V)
    attention = scores.masked_fill(~valid[:, None, None, None], -1e30).softmax(-1)
    asks = valid[:, None, None, :, None]
    share = (attention * asks).sum(3) / valid.sum(1)[:, None, None, None]
    squares = ((attention @ values[:, :, None]).square() * asks).sum((0, 3, 4))
    gram = values @ values.transpose(-1, -2)
    ours = pair_attention.PairAttention.apply(queries, keys, gram, valid if padded else None)
    weights = torch.randn_like(share), torch.randn_like(squares)
    gradients = [
        torch.autograd.grad([share, squares], [queries, keys, values], weights, retain_graph=True),
        torch.autograd.grad(ours, [queries, keys, values], weights),
    ]
    for one, other in zip([share, squares, *gradients[0]], [*ours, *gradients[1]]):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5)


def test_loss_equals_the_reference() -> None:
    """Weighted asymmetric loss on p plus λ·cross-entropy of the joint states, unknown labels left out."""
    head, counts = make_head().eval(), [3, 5, 2]
    latents = make_latents(counts)
    labels = torch.tensor([[1, 0, -1], [0, 0, 1], [1, 1, 0]], dtype=torch.int8)
    rates = torch.tensor([0.1, 0.4, 0.25])
    p, _, edges = Reference(head, False)(latents, counts)
    w = [A / float(r) / sum(1 / float(q) for q in rates) for r in rates]
    au, states = [], []
    for b in range(3):
        for i in range(A):
            y = int(labels[b, i])
            if y >= 0:
                q = float(p[b, i])
                au.append(-w[i] * (math.log(q) if y else q * math.log(1 - q)))
            for j in range(A):
                if y >= 0 and labels[b, j] >= 0:
                    scores = head.edge_classifier(edges[b, i, j])
                    chosen = 2 * y + int(labels[b, j])
                    states.append(float(torch.logsumexp(scores, 0) - scores[chosen]))
    loss = losses.AULoss(losses.AULossConfig("asymmetric", "aus", edge_states=0.05), rates)
    output = head(latents)
    value = loss(output.logits, labels, head.edge_states(output.edges))
    assert float(value) == pytest.approx(sum(au) / len(au) + 0.05 * sum(states) / len(states), abs=1e-5)


def test_padding_never_enters_the_statistics_that_evaluation_uses() -> None:
    heads = [make_head(1).train(), make_head(1).train()]
    for head, garbage in zip(heads, (0.0, 1e3)):
        torch.manual_seed(2)
        latents = make_latents([2, 5])
        for layer in latents.layers:
            layer[~latents.valid] = garbage
        head(latents)
    for (name, a), b in zip(heads[0].named_buffers(), heads[1].buffers()):
        assert torch.equal(a, b), name


def test_frozen_norms_leave_statistics_alone_and_train_as_they_evaluate() -> None:
    torch.manual_seed(0)
    head = MEGraphAU(D, (1,), FACES, MEGraphAUOptions(node_width=C, frozen_norms=True)).double()
    latents = make_latents([2, 5])
    before = {name: value.clone() for name, value in head.named_buffers()}
    torch.testing.assert_close(head.train()(latents).logits, head.eval()(latents).logits)
    assert all(torch.equal(value, before[name]) for name, value in head.named_buffers())


@pytest.mark.parametrize("counts", [[0, 0], [0, 3]])
def test_faces_without_a_visible_token_keep_values_and_gradients_finite(counts: list[int]) -> None:
    head, latents = make_head().train(), make_latents(counts)
    if not any(counts):
        latents = Latents(*[value[:, :0] for value in latents[:2]], [v[:, :0] for v in latents.layers], None,
                          latents.cls)  # fmt: skip
    output = head(latents)
    output.logits.sum().backward()
    assert all(value.isfinite().all() for value in output)
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


def test_logits_give_every_weight_a_gradient_but_the_edge_classifier() -> None:
    """What the loss never reaches must be frozen: a distributed training waits for every weight that wants one."""
    head = make_head()
    head(make_latents([2, 5])).logits.sum().backward()
    assert {name for name, p in head.named_parameters() if p.grad is None} == {
        "edge_classifier.weight",
        "edge_classifier.bias",
    }
