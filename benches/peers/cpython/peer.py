"""CPython: weakref.finalize. See ../README.md."""

import gc
import json
import platform
import sys
import time
import weakref

KIND, WORK, N, DEAD = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
now = time.perf_counter_ns


class Thing:
    __slots__ = ("a", "b", "__weakref__")


class Calls:
    count = 0


def tick():
    Calls.count += 1


def timed(phases, name, body):
    begun = now()
    body()
    phases[name] = (now() - begun) / N


def shuffled(below):
    state = 88172645463325252
    mask = (1 << 64) - 1
    while True:
        state ^= state << 13 & mask
        state ^= state >> 7
        state ^= state << 17 & mask
        yield (state >> 32) % below


def register(keep):
    finalize = weakref.finalize
    for thing in keep:
        finalize(thing, tick).atexit = False


def cycle():
    phases, keep = {}, []
    timed(phases, "alloc", lambda: keep.extend([Thing() for _ in range(N)]))
    if KIND != "none":
        timed(phases, "register", lambda: register(keep))
    gc.collect()
    timed(phases, "live", gc.collect)
    dead = [i for i, hundredth in zip(range(N), shuffled(100)) if hundredth < DEAD]
    Calls.count = 0

    # The last reference goes, and the call is made at once: discovery and drain are one.
    def drop():
        for i in dead:
            keep[i] = None

    if KIND == "none":
        timed(phases, "discover", drop)
    else:
        timed(phases, "drain", drop)
        assert Calls.count == len(dead), Calls.count
    timed(phases, "free", gc.collect)
    return phases


def shuffle(values):
    """Puts values into a random order, the same each time."""
    for last, number in zip(range(len(values) - 1, 0, -1), shuffled(1 << 32)):
        other = number % (last + 1)
        values[last], values[other] = values[other], values[last]


def cancel(random=False):
    """Both in a random order if so said."""
    phases = {}
    keep = [Thing() for _ in range(N)]
    handles = []
    if random:
        shuffle(keep)
    timed(phases, "register", lambda: handles.extend([weakref.finalize(thing, tick) for thing in keep]))
    if random:
        shuffle(handles)

    def detach():
        for handle in handles:
            handle.detach()

    timed(phases, "cancel", detach)
    return phases


def resident():
    """Bytes of the process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def memory():
    """Calls are made when the last reference goes, so none is ever queued."""
    keep = [Thing() for _ in range(N)]
    gc.collect()
    small = resident()
    register(keep)
    return {"memory": (resident() - small) / N}


class Node:
    __slots__ = ("left", "right", "a", "b")

    def __init__(self, left, right):
        self.left = left
        self.right = right


def grow(nodes):
    """A tree of so many nodes."""
    if nodes == 0:
        return None
    below = nodes - 1
    return Node(grow(below // 2), grow(below - below // 2))


def tree():
    """References are counted, so that it is freed when it is dropped, and not by a collection."""
    phases, kept = {}, []
    timed(phases, "alloc", lambda: kept.append(grow(N)))
    gc.collect()
    timed(phases, "live", gc.collect)
    timed(phases, "free", kept.clear)
    return phases


def tree_churn():
    kept = grow(N)
    trees = (4 * N + 126) // 127
    begun = now()
    for _ in range(trees):
        grow(127)
    took = now() - begun
    del kept
    return {"churn": took / (127 * trees)}


def churn():
    phases, steps = {}, []
    Calls.count = 0

    def churning():
        window = max(N // 10, 1)
        ring = [None] * window
        last = now()
        for i in range(N):
            thing = Thing()
            if KIND != "none":
                weakref.finalize(thing, tick).atexit = False
            ring[i % window] = thing
            if i % 100 == 99:
                end = now()
                steps.append(end - last)
                last = end
        if KIND != "none":
            phases["backlog"] = 100 * (N - window - Calls.count) / N

    timed(phases, "churn", churning)
    assert KIND == "none" or Calls.count == N, Calls.count
    steps.sort()
    for name, part in ("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1):
        phases[name] = steps[int((len(steps) - 1) * part)]
    return phases


print(json.dumps({"version": f"{platform.python_implementation()} {platform.python_version()}"}), flush=True)
# As most programs have it while they churn; where collections are timed, none happens by itself.
gc.enable() if WORK.endswith("churn") else gc.disable()
WORKS = {
    "cycle": cycle,
    "cancel": cancel,
    "random": lambda: cancel(True),
    "churn": churn,
    "memory": memory,
    "tree": tree,
    "tree-churn": tree_churn,
}
for _ in sys.stdin:
    print(json.dumps(WORKS[WORK]()), flush=True)
