# Copyright (C) the ngx_http_batch_module authors
#
# Faults of Redis: its death, what it forgets, what it refuses, its clock.

import os
import shutil
import signal
import struct
import subprocess

from cluster import ROOT
from faults import LINK, SETUPS, fault, gone, until


def aof(c, where='redis'):
    return os.path.join(c.path(where), 'appendonlydir')


def die(c):
    c.kill(c.redis_pid)
    yield from gone([c.redis_pid])


# --- its death and its memory ------------------------------------------------

@fault(excuses=('status:503',), weight=2, group='redis', late=True,
       after=LINK)
def redis(c, rng):
    """it is killed, and comes back with its file"""
    yield from die(c)
    yield rng.random() * 1.5
    c.redis_start()


@fault(excuses=('status:503',), weight=1, group='redis', late=True,
       after=LINK)
def redis_empty(c, rng):
    """it comes back without its file"""
    yield from die(c)
    yield rng.random()
    shutil.rmtree(aof(c))
    c.count['losses'] += 1
    c.redis_start()


@fault(excuses=('status:503',), weight=1, group='redis', late=True,
       after=LINK)
def flushall(c, rng):
    c.redis('FLUSHALL')
    c.count['losses'] += 1
    yield 0


@fault(excuses=('status:503',), weight=1, group='redis', late=True,
       after=LINK)
def redis_rewind(c, rng):
    """it comes back with its file as it was some seconds ago"""
    shutil.rmtree(c.path('redis.old'), ignore_errors=True)
    shutil.copytree(aof(c), aof(c, 'redis.old'))
    yield 0.2 + rng.random() * 3
    yield from die(c)
    shutil.rmtree(aof(c))
    shutil.move(aof(c, 'redis.old'), aof(c))
    c.count['rewinds'] += 1
    c.redis_start()


@fault(excuses=('status:503',), weight=0.5, group='redis', late=True,
       after=LINK)
def redis_loading(c, rng):
    """it takes seconds to load its file, and says -LOADING meanwhile"""
    yield from die(c)
    size = sum(f.stat().st_size for f in os.scandir(aof(c)))

    # a command in the file is some 300 bytes long; for each so many us

    c.redis_start('--key-load-delay',
                  str(max(1, int(min(300, 3e6 * 300 / max(size, 1))))),
                  '--loading-process-events-interval-bytes', '1024',
                  wait=False)
    yield from until(c.redis_ready, 60, 'Redis')


# --- what it refuses ---------------------------------------------------------

@fault(weight=1, group='redis')
def script_flush(c, rng):
    """each worker's next call of a script is answered NOSCRIPT"""
    c.redis('SCRIPT', 'FLUSH')
    yield 0


@fault(excuses=('status:503',), weight=1, group='redis', after=LINK)
def client_kill(c, rng):
    """all links are closed, with what is under way on them"""
    c.redis('CLIENT', 'KILL', 'TYPE', 'normal')
    yield 0


@fault(excuses=('status:503',), weight=0.5, group='redis', late=True,
       after=LINK)
def client_pause(c, rng):
    """scripts wait for longer than we do (2 s)"""
    c.redis('CLIENT', 'PAUSE', '3600000', 'WRITE')
    yield 2.5 + rng.random() * 3

    # by its own clock, which may have been set, it could last for an hour

    c.redis('CLIENT', 'UNPAUSE')


@fault(excuses=('status:503',), weight=0.5, group='redis', late=True,
       after=LINK)
def redis_stop(c, rng):
    """
    stopped for longer than we wait: what was sent is done when it wakes,
    though nobody is there any more for the answer
    """
    c.kill(c.redis_pid, signal.SIGSTOP)
    yield 2.5 + rng.random() * 3
    c.kill(c.redis_pid, signal.SIGCONT)


@fault(excuses=('status:503',), weight=0.5, group='redis', late=True,
       after=LINK)
def redis_oom(c, rng):
    """maxmemory is reached: writes are answered -OOM"""
    c.redis('CONFIG', 'SET', 'maxmemory', '1')
    yield 0.2 + rng.random() * 3
    c.redis('CONFIG', 'SET', 'maxmemory', '0')


@fault(excuses=('status:503',), weight=0.5, group='redis', late=True,
       after=LINK)
def redis_readonly(c, rng):
    """it becomes a replica (-READONLY), and a master again"""
    c.redis('REPLICAOF', '127.0.0.1', '1')
    yield 0.2 + rng.random() * 3
    c.redis('REPLICAOF', 'NO', 'ONE')


# --- its clock ---------------------------------------------------------------

@fault(weight=0.5, group='clock')
def clock(c, rng):
    """of Redis: an hour forth or back, and right again"""
    set_clock(c, rng.choice((-3600, 3600)))
    yield rng.random() * 15
    set_clock(c, 0)
    yield 5 + rng.random() * 10


def set_clock(c, seconds):
    # in place: it is mapped

    fd = os.open(c.path('clock'), os.O_WRONLY | os.O_CREAT, 0o644)
    os.pwrite(fd, struct.pack('q', seconds), 0)
    os.close(fd)


def setup_clock(c):
    so = c.path('clock.so')
    subprocess.run([os.environ.get('CC') or 'cc', '-shared', '-fPIC', '-o', so,
                    os.path.join(ROOT, 't/lib/clock.c')], check=True)
    set_clock(c, 0)
    c.redis_environment = {'LD_PRELOAD': so, 'BATCH_CLOCK': c.path('clock')}


SETUPS.append((('clock',), setup_clock))
