"""The nine answers in NumPy, written from docs/chapters/ alone."""
import numpy as np


def next_global(types, last):
    """e_j: the first GLOBAL token after each token, or `last` if there is none."""
    e = np.full(len(types), last)
    for j in range(len(types)):
        after = np.nonzero(types[j + 1:] == 0)[0]
        if len(after):
            e[j] = j + 1 + after[0]
    return e


def lifetime(types, window):
    e = next_global(types, np.inf)
    return np.where(types == 0, np.inf, np.where(types == 1, e, np.arange(len(types)) + window))


def mask(last):
    i, j = np.indices((len(last), len(last)))
    return (j <= i) & (i <= last)


def weights(q, k, last):
    s = q @ k.T / np.sqrt(q.shape[1])
    seen = np.where(mask(last), s, -np.inf)
    m = seen.max(1, keepdims=True)
    e = np.exp(seen - m)
    z = e.sum(1, keepdims=True)
    return s, e / z, m + np.log(z)


def attention(q, k, v, last):
    return weights(q, k, last)[1] @ v


def attention_backward(q, k, v, last, d_out):
    a = weights(q, k, last)[1]
    d = (d_out * (a @ v)).sum(1, keepdims=True)
    ds = a * (d_out @ v.T - d) / np.sqrt(q.shape[1])
    return {'dq': ds @ k, 'dk': ds.T @ q, 'dv': a.T @ d_out}


def mask_gradient(q, k, v, last, d_out):
    s, a, lse = weights(q, k, last)
    d = (d_out * (a @ v)).sum(1, keepdims=True)
    i, j = np.indices(s.shape)
    return np.where(j <= i, np.exp(np.where(j <= i, s - lse, 0)) * (d_out @ v.T - d), 0)


def type_gradient(d_m, types, window):
    n = len(types)
    e = next_global(types, n - 1)
    grad = np.zeros((n, 3))
    for i in range(n):  # one pass per row, with the running sum of chapter 5
        open_local = 0.0
        for j in range(i + 1):
            grad[j, 0] += d_m[i, j]
            if i <= e[j]:
                grad[j, 1] += d_m[i, j]
            if i - j <= window:
                grad[j, 2] += d_m[i, j]
            if j < i <= e[j]:
                grad[j, 0] -= open_local
            if types[j] == 0:
                open_local = 0.0
            elif types[j] == 1:
                open_local += d_m[i, j]
    return grad


def price(types, window, lambda_):
    n = len(types)
    k = 2 * lambda_ / n ** 2
    j = np.arange(n)
    return k * np.stack([n - 1 - j, next_global(types, n - 1) - j, np.minimum(window, n - 1 - j)], 1)


def straight_through(scores, noise, tau, d_types):
    z = (scores + noise) / tau
    e = np.exp(z - z.max(1, keepdims=True))
    y = e / e.sum(1, keepdims=True)
    mean = (y * d_types).sum(1, keepdims=True)
    return {'types': z.argmax(1), 'dScores': y * (d_types - mean) / tau}


def cache(types, window):
    entries, held = [], []
    for i, t in enumerate(types):
        for entry in entries:
            if t == 0 and entry[1] == 1 and entry[2] == np.inf:
                entry[2] = i
        entries.append([i, t, i + window if t == 2 else np.inf])
        entries = [entry for entry in entries if entry[2] >= i + 1]
        held.append([entry[0] for entry in entries])
    return held
