"""The presets of docs/method.md written out literally: dense float64 matrices, loops over images. Slow on purpose.

Nothing here is shared with `ecul.clustering`.
"""

import numpy as np


def distances(features):
    """Squared distances of features rounded to 2^-30, by Python's whole numbers, as float32; and the exact ones."""
    fixed = np.rint(features.astype(np.float64) * 2**30).astype(np.int64).astype(object)
    exact = np.maximum(2**61 - 2 * (fixed @ fixed.T), 0) if len(fixed) else np.zeros((0, 0), object)
    return (exact / 2**60).astype(np.float64).astype(np.float32), exact


def dbscan(J, eps, min_samples, copies, first):
    """Labels of points: connected cores; a border point goes to the near cluster of most core images."""
    near = np.float32(eps) >= J
    core = near @ copies >= min_samples
    labels, clusters = np.full(len(J), -1), 0
    for seed in sorted(np.flatnonzero(core), key=lambda point: first[point]):
        if labels[seed] >= 0:
            continue
        todo = [seed]
        while todo:
            point = todo.pop()
            if labels[point] < 0:
                labels[point] = clusters
                todo += list(np.flatnonzero(near[point] & core))
        clusters += 1
    weight = [copies[core & (labels == label)].sum() for label in range(clusters)]
    for point in np.flatnonzero(~core & (near & core).any(axis=1)):
        cores = np.flatnonzero(near[point] & core)
        labels[point] = labels[min(cores, key=lambda c: (-weight[labels[c]], J[point, c], c))]
    return labels


class Literal:
    """All presets on one bank.

    Ranges count images and take the copies of the last one whole: images of one `point` are copies. Ties are in the
    order of the points.
    """

    def __init__(self, features, modality, camera, point):
        self.modality, self.camera, self.num = np.asarray(modality), np.asarray(camera), len(features)
        self.distance, exact = distances(features)
        self.point = point
        self.order = [
            sorted(range(self.num), key=lambda j, i=i: (point[i] != point[j], exact[i, j], point[j], j))
            for i in range(self.num)
        ]

    def cut(self, row, k):
        """The first k images of a list, and all copies of the last of them."""
        return [j for place, j in enumerate(row) if place < k or self.point[j] == self.point[row[k - 1]]]

    def nearest(self, i, keep, k):
        """The k nearest of image i among those where `keep` is true, as a list."""
        return self.cut([j for j in self.order[i] if keep[j]], k)

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

    def mean_by_sides(self, V, chosen, code, balance):
        """Mean over the sides of the mean over their groups of the mean of V over the chosen images of a group."""
        rows = []
        for row in chosen:
            sides = {}
            for j in row:
                side = self.modality[j] if balance == "modalities" else 0
                sides.setdefault(side, {}).setdefault(code[j], []).append(j)
            means = [np.mean([V[group].mean(0) for group in side.values()], axis=0) for side in sides.values()]
            rows.append(np.mean(means, axis=0))
        return np.stack(rows)

    def code(self, groups):
        return self.modality * 1000 + (self.camera if groups == "modality_camera" else 0)

    def within_quota(self, row, code, quota):
        """The images of a list that are among the first `quota` of their group, the last one with all its copies."""
        kept = []
        for j in row:
            same = [other for other in kept if code[other] == code[j]]
            if len(same) < quota or self.point[same[-1]] == self.point[j]:
                kept.append(j)
        return kept

    def kreciprocal_encoding(self, k1):
        full = [[self.cut(row, k1)] for row in self.order]
        half = [[self.cut(row, min(k1, round(k1 / 2) + 1))] for row in self.order]
        return self.encode(self.reciprocal(full), self.reciprocal(half))

    def kreciprocal(self, k1, k2):
        k2 = min(k1, k2)
        return self.mean_of_means(self.kreciprocal_encoding(k1), [[self.cut(row, k2)] for row in self.order])

    def modality_balanced(self, k1, k2):
        k2 = min(k1, k2)
        split = [[[j for j in self.cut(row, k2) if self.modality[j] == kind] for kind in (0, 1)] for row in self.order]
        return self.mean_of_means(self.kreciprocal_encoding(k1), split)

    def balanced_neighbours(self, k1, k2):
        kinds = np.unique(self.modality)
        share = max(1, k1 // 2)
        lists = [[self.nearest(i, self.modality == kind, max(share, k2)) for kind in kinds] for i in range(self.num)]
        merged = []
        for i in range(self.num):
            union = {j for part in lists[i] for j in self.cut(part, share)}
            merged.append([j for j in self.order[i] if j in union])
        cut = min(share * len(kinds), k1, round(k1 / 2) + 1)
        full = [[self.cut(row, share * len(kinds))] for row in merged]
        half = [[self.cut(row, cut)] for row in merged]
        V = self.encode(self.reciprocal(full), self.reciprocal(half))
        return self.mean_of_means(V, [[self.cut(part, k2) for part in row] for row in lists])

    def camera_window(self, k1, k2, groups="modality_camera", balance="modalities"):
        windows = [self.cut(row, min(k1, k2)) for row in self.order]
        return self.mean_by_sides(self.kreciprocal_encoding(k1), windows, self.code(groups), balance)

    def camera_quota(self, k1, k2, k3, groups="modality_camera", balance="modalities"):
        V, code = self.kreciprocal_encoding(k1), self.code(groups)
        if k2 == 1:
            return V
        chosen = [self.within_quota(self.cut(row, min(k1, k3)), code, k2) for row in self.order]
        return self.mean_by_sides(V, chosen, code, balance)

    def camera_aware(self, k1_intra, k1_inter, k2_intra, k2_inter):
        group = self.modality * 1000 + self.camera
        same = [self.nearest(i, group == group[i], self.num) for i in range(self.num)]
        other = [self.nearest(i, group != group[i], self.num) for i in range(self.num)]
        lists = [[self.cut(same[i], k1_intra + 1), self.cut(other[i], k1_inter + 1)] for i in range(self.num)]
        V = self.encode(self.reciprocal(lists), None)
        return self.mean_of_means(
            V, [[self.cut(same[i], k2_intra) + self.cut(other[i], k2_inter)] for i in range(self.num)]
        )

    def emcc(self, k1, k2, k3, groups="modality_camera", reading="groups", reciprocal=None, balance=None):
        window = reading == "window"
        reciprocal = reciprocal or ("all" if window else "groups")
        balance = balance or ("modalities" if window else "groups")
        if window and reciprocal == "all":
            return self.camera_quota(k1, k2, k3, groups, balance)
        code = self.code(groups)
        kinds = np.unique(code)
        near = [[self.nearest(i, code == kind, self.num) for kind in kinds] for i in range(self.num)]
        if reciprocal == "all":
            V = self.kreciprocal_encoding(k1)
        else:
            full = [[self.cut(part, k1) for part in row] for row in near]
            half = [[self.cut(part, -(-k1 // 2)) for part in row] for row in near]
            V = self.encode(self.reciprocal(full), self.reciprocal(half))
        if window:
            chosen = [self.within_quota(self.cut(row, k3), code, k2) for row in self.order]
            return self.mean_by_sides(V, chosen, code, balance)
        chosen = [[j for part in row for j in self.cut(part, k2)] for row in near]
        E = self.mean_by_sides(V, chosen, code, balance)
        for i in range(self.num):
            keep = [j for part in near[i] for j in self.cut(part, k3)]
            row = np.zeros(self.num)
            row[keep] = E[i, keep]
            E[i] = row / row.sum()
        return E


def centre(features, modality, camera, centring):
    """Features with their group's mean subtracted and normalised again, by Python's whole numbers."""
    fixed = np.rint(features.astype(np.float64) * 2**30).astype(np.int64)
    code = modality.astype(np.int64) * 1000 + (camera if centring == "camera" else 0)
    out = features.copy()
    for kind in np.unique(code) if centring != "none" else ():
        rows = np.flatnonzero(code == kind)
        mean = [round(sum(int(x) for x in column) / len(rows)) for column in fixed[rows].T]
        for row in rows:
            rest = [int(x) - m for x, m in zip(fixed[row], mean, strict=True)]
            square = sum(x * x for x in rest)
            if square:
                out[row] = [np.float32(x / float(square) ** 0.5) for x in rest]
    return out


def jaccard(E):
    """J of all pairs, from fused encodings."""
    overlap = np.stack([np.minimum(row, E).sum(axis=1) for row in E])
    return np.maximum(1 - overlap / (2 - overlap), 0)
