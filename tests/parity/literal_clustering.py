"""The presets of docs/method.md written out literally: dense float64 matrices, loops over images. Slow on purpose.

Nothing here is shared with `ecul.clustering`.
"""

import numpy as np


def distances(features):
    return np.maximum(2 - 2 * (features @ features.T), 0).astype(np.float32)


class Literal:
    """All five presets on one bank."""

    def __init__(self, features, modality, camera):
        self.modality, self.camera, self.num = np.asarray(modality), np.asarray(camera), len(features)
        self.distance = distances(features)
        by_distance = self.distance.copy()
        np.fill_diagonal(by_distance, -1)
        self.order = np.argsort(by_distance, axis=1, kind="stable")

    def nearest(self, i, keep, k):
        """The k nearest of image i among those where `keep` is true, as a list."""
        return [j for j in self.order[i] if keep[j]][:k]

    def encode(self, full, half):
        """V from R(i, k1) and R(i, h), both lists of lists; half None for no recall."""
        V = np.zeros((self.num, self.num))
        for i in range(self.num):
            members = set(full[i])
            if half is not None:
                for j in full[i]:
                    if 3 * len(set(full[i]) & set(half[j])) > 2 * len(half[j]):
                        members |= set(half[j])
            members = sorted(members)
            weights = np.exp(-self.distance[i, members].astype(float))
            V[i, members] = weights / weights.sum()
        return V

    def reciprocal(self, lists):
        """lists[i] names the list of each group of i; j is kept when the list of j that could hold i does."""
        return [[j for part in lists[i] for j in part if any(i in own for own in lists[j])] for i in range(self.num)]

    def mean_of_means(self, V, parts):
        """Mean over the non-empty parts of the mean of V over each part."""
        return np.stack([np.mean([V[part].mean(0) for part in row if len(part)], axis=0) for row in parts])

    def kreciprocal_encoding(self, k1):
        full = [[list(row[:k1])] for row in self.order]
        half = [[list(row[: min(k1, round(k1 / 2) + 1)])] for row in self.order]
        return self.encode(self.reciprocal(full), self.reciprocal(half))

    def kreciprocal(self, k1, k2):
        k2 = min(k1, k2)
        return self.mean_of_means(self.kreciprocal_encoding(k1), [[row[:k2]] for row in self.order])

    def modality_balanced(self, k1, k2):
        k2 = min(k1, k2)
        split = [[[j for j in row[:k2] if self.modality[j] == kind] for kind in (0, 1)] for row in self.order]
        return self.mean_of_means(self.kreciprocal_encoding(k1), split)

    def balanced_neighbours(self, k1, k2):
        kinds = np.unique(self.modality)
        share = max(1, k1 // 2)
        lists = [[self.nearest(i, self.modality == kind, max(share, k2)) for kind in kinds] for i in range(self.num)]
        merged = []
        for i in range(self.num):
            union = {j for part in lists[i] for j in part[:share]}
            merged.append([j for j in self.order[i] if j in union])
        cut = min(share * len(kinds), k1, round(k1 / 2) + 1)
        full, half = [[row] for row in merged], [[row[:cut]] for row in merged]
        V = self.encode(self.reciprocal(full), self.reciprocal(half))
        return self.mean_of_means(V, [[part[:k2] for part in row] for row in lists])

    def camera_aware(self, k1_intra, k1_inter, k2_intra, k2_inter):
        group = self.modality * 1000 + self.camera
        same = [self.nearest(i, group == group[i], self.num) for i in range(self.num)]
        other = [self.nearest(i, group != group[i], self.num) for i in range(self.num)]
        lists = [[same[i][: k1_intra + 1], other[i][: k1_inter + 1]] for i in range(self.num)]
        V = self.encode(self.reciprocal(lists), None)
        return self.mean_of_means(V, [[same[i][:k2_intra] + other[i][:k2_inter]] for i in range(self.num)])

    def emcc(self, k1, k2, k3, groups="modality_camera"):
        code = self.modality * 1000 + (self.camera if groups == "modality_camera" else 0)
        kinds = np.unique(code)
        near = [[self.nearest(i, code == kind, self.num) for kind in kinds] for i in range(self.num)]
        full = [[part[:k1] for part in row] for row in near]
        half = [[part[: -(-k1 // 2)] for part in row] for row in near]
        V = self.encode(self.reciprocal(full), self.reciprocal(half))
        E = self.mean_of_means(V, [[part[:k2] for part in row] for row in near])
        for i in range(self.num):
            keep = [j for part in near[i] for j in part[:k3]]
            row = np.zeros(self.num)
            row[keep] = E[i, keep]
            E[i] = row / row.sum()
        return E


def jaccard(E):
    """J of all pairs, from fused encodings."""
    overlap = np.stack([np.minimum(row, E).sum(axis=1) for row in E])
    return np.maximum(1 - overlap / (2 - overlap), 0)
