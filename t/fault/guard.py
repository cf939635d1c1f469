# Copyright (C) the ngx_http_batch_module authors
#
# Nothing outlives the driver.  A guard process stands above it: whatever the
# driver's death leaves behind (nginx is a daemon, workers may have lost their
# master) becomes the guard's child and is killed by it.  There are two guards,
# one above the other: if one is killed, the other one cleans up.

import ctypes
import os
import signal
import subprocess
import sys
import threading
import traceback

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option, value):
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), 'prctl')


def children(parent):
    """pids whose parent is this one; zombies are among them"""
    found = []

    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue

        stat = proc_stat(int(name))

        if stat and stat[1] == parent:
            found.append(int(name))

    return sorted(found)


def proc_stat(pid):
    """(state, parent, when it began), or None when the process is gone"""
    try:
        with open('/proc/%d/stat' % pid, 'rb') as f:
            fields = f.read().rsplit(b') ', 1)[1].split()
    except OSError:
        return None

    return fields[0].decode(), int(fields[1]), int(fields[19])


def alive(pid, begun=None):
    """running or stopped; a zombie is not alive, nor is another process that
    has got its number since.  Of a killed process the first thread may be a
    zombie while others still wait for the disk, and hold its sockets."""
    stat = proc_stat(pid)

    if stat is None or begun not in (None, stat[2]):
        return False

    if stat[0] == 'Z':
        try:
            return len(os.listdir('/proc/%d/task' % pid)) > 1
        except OSError:
            return False

    return stat[0] != 'X'


def run_guarded(main, guards=2):
    """main() in a child; returns its exit status when all its heirs ended"""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    driver = os.fork()

    if driver == 0:
        prctl(PR_SET_PDEATHSIG,
              signal.SIGTERM if guards > 1 else signal.SIGKILL)
        prctl(PR_SET_CHILD_SUBREAPER, 1)

        if os.getppid() != guard:
            os._exit(1)

        status = 1

        try:
            status = run_guarded(main, guards - 1) if guards > 1 else main()
        except KeyboardInterrupt:
            status = 130
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)

    def end(signo, frame):
        if alive(driver):
            os.kill(driver, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    status = os.waitpid(driver, 0)[1]

    # each death may give us further heirs

    while True:
        heirs = children(guard)

        if not heirs:
            break

        for pid in heirs:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break

    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)

    return os.WEXITSTATUS(status)


class Reaper(threading.Thread):
    """
    Collects every child at once, those that we have inherited, too: for
    kill(pid, 0), with which workers look at each other, a zombie is alive.
    exits: pid -> status as of waitpid().
    """

    def __init__(self):
        super().__init__(daemon=True, name='reaper')
        self.exits = {}
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            self.collect()
            self.ended.wait(0.01)

    def collect(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return

            if pid == 0:
                return

            self.exits[pid] = status


def spawn(argv, log, **options):
    """
    A child that gets SIGTERM when the calling thread ends: to be called from
    the main thread only.  Its output is appended to the file log.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError('spawn() from another thread')

    with open(log, 'ab') as out:
        child = subprocess.Popen(['setpriv', '--pdeathsig', 'TERM'] + argv,
                                 stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=out, **options)

    # the reaper collects it; Popen must not complain about that
    child.returncode = 0

    return child.pid
