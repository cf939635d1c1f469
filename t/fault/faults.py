# Copyright (C) the ngx_http_batch_module authors
#
# The table of faults.  Each is a generator: it does something to the cluster,
# yields the seconds until it goes on, and undoes it in the end.  They run
# interleaved on the main thread, so none may wait in another way, and each is
# driven to its end.  See README.md for adding some in a faults_<name>.py.

import signal
import time

from guard import alive, proc_stat

# s: a worker tries again to reach Redis, at last, every 5 s, and looks for an
# empty index every 2

LINK = 8

TABLE = {}

# (names of faults, function of the cluster), before anything starts
SETUPS = []


class Fault:
    def __init__(self, run, excuses, weight, group, late, alone, after,
                 nodes, sleeps):
        self.run = run
        self.name = run.__name__
        self.excuses = excuses
        self.weight = weight
        self.group = group
        self.late = late
        self.alone = alone
        self.after = after
        self.nodes = nodes
        self.sleeps = sleeps


def fault(excuses=(), weight=1, group='', late=False, alone=False, after=3,
          nodes=1, sleeps=False):
    """
    excuses   what clients may see while it lasts: refused, cut, timeout,
              status:503, ...
    weight    how often, compared with the others
    group     of one group only one is under way
    late      living workers may lose leases: lines of theirs may be sent
              again by others
    alone     not part of "all"
    after     s that clients may feel it behind its end
    nodes     needs so many
    sleeps    a process is stopped: it feels the other faults of that time when
              it wakes
    """
    def enter(run):
        name = run.__name__.rstrip('_')
        run.__name__ = name
        TABLE[name] = Fault(run, excuses, weight, group, late, alone,
                            after, nodes, sleeps)
        return run

    return enter


def until(condition, seconds, what):
    """yield from until(...): waits, and lets the others go on"""
    end = time.monotonic() + seconds

    while not condition():
        if time.monotonic() > end:
            raise TimeoutError('%s: not within %d s' % (what, seconds))

        yield 0.02


def gone(pids, seconds=20):
    return until(lambda: not any(alive(p) for p in pids), seconds,
                 'end of %s' % pids)


# --- workers -----------------------------------------------------------------

@fault(excuses=('cut',), weight=6)
def worker(c, rng):
    pids = c.workers()

    if pids:
        c.kill(rng.choice(pids))

    yield 0


@fault(excuses=('cut', 'timeout'), weight=0.2, group='stop',
       late=True, sleeps=True)
def stop(c, rng):
    """longer than a lease of 10 s: when it wakes, its chunks are others'"""
    pid = rng.choice(c.workers() or [0])

    if not pid:
        return

    c.kill(pid, signal.SIGSTOP)
    yield 11 + rng.random() * 3

    if pid in c.workers():
        c.kill(pid, signal.SIGCONT)


@fault(excuses=('timeout',), weight=0.5, group='stop', sleeps=True)
def pause(c, rng):
    pid = rng.choice(c.workers() or [0])

    if not pid:
        return

    c.kill(pid, signal.SIGSTOP)
    yield 0.1 + rng.random()

    if pid in c.workers():
        c.kill(pid, signal.SIGCONT)


# --- the master --------------------------------------------------------------

@fault(excuses=('cut', 'refused'), weight=0.5, group='master',
       late=True)
def master(c, rng):
    """the workers live on as orphans; a new nginx on the same store"""
    g = c.some(rng)
    c.kill_master(g)
    yield from gone([g.master])
    g.master = 0

    yield rng.random()
    c.nginx_start()
    yield rng.random() * 3

    # a graceful one may be stopped just now, or wait for a long line

    signo = rng.choice((signal.SIGKILL, signal.SIGQUIT))

    for pid in c.workers(g):
        c.kill(pid, signo)

    yield from until(lambda: not c.workers(g), 60, 'end of the orphans')
    c.forget()


@fault(weight=0.5, group='master')
def reload(c, rng):
    """every 200 ms for some seconds"""
    g = c.some(rng)

    for _ in range(rng.randint(5, 15)):
        c.workers(g)
        c.kill(g.master, signal.SIGHUP)
        c.count['reloads'] += 1
        yield 0.2

    # old workers have lines to wait for

    yield from until(lambda: len(c.workers(g)) <= c.options['workers'], 60,
                     'end of the old workers')


@fault(weight=0.3, group='master')
def upgrade(c, rng):
    """USR2: a new master from the old one; WINCH; QUIT"""
    g = c.some(rng)
    old = g.master
    c.workers(g)
    c.kill(old, signal.SIGUSR2)

    yield from until(lambda: c.pid_file(g, '.oldbin') == old
                     and c.pid_file(g) not in (0, old), 20, 'a new master')

    new = c.pid_file(g)
    g.masters[new] = proc_stat(new)[2]
    yield 0.1 + rng.random()
    c.kill(old, signal.SIGWINCH)
    yield 0.1 + rng.random()
    c.workers(g)
    c.kill(old, signal.SIGQUIT)
    yield from gone([old], 60)
    g.master = new


@fault(excuses=('refused', 'cut'), weight=0.3, group='master')
def quit_(c, rng):
    """a graceful end in the middle of all, and a new start"""
    g = c.some(rng)
    c.workers(g)
    c.kill(g.master, signal.SIGQUIT)
    yield from gone([g.master], 60)
    g.master = 0
    c.forget()
    yield rng.random()
    c.nginx_start()


# --- upstream ----------------------------------------------------------------

@fault(weight=1.5, group='mock')
def upstream(c, rng):
    c.kill(c.mock_pid)
    yield from gone([c.mock_pid])
    yield rng.random()
    c.mock_start()
