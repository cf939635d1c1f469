# Copyright (C) the ngx_http_batch_module authors
#
# Faults of one of several nodes (NODES=2): nginx on the same store and Redis.

from faults import LINK, fault, gone


@fault(excuses=('cut', 'refused'), weight=1, group='master', nodes=2)
def node(c, rng):
    """it dies, master and workers at once, and comes back"""
    g = c.some(rng)
    c.kill_master(g)
    pids = c.workers(g)

    for pid in pids:
        c.kill(pid)

    yield from gone([g.master] + pids)
    g.master = 0
    c.forget()
    yield rng.random() * 3
    c.nginx_start()


@fault(excuses=('status:503',), weight=1, group='redis', late=True,
       after=LINK, nodes=2)
def node_cut(c, rng):
    """it cannot reach Redis, perhaps for longer than a lease of 10 s"""
    relay = c.relays[c.some(rng).port.number]
    relay.cut(silent=rng.random() < 0.5)
    yield rng.choice((1, 4, 14)) * (0.5 + rng.random() / 2)
    relay.heal()
