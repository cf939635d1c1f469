# Copyright (C) the ngx_http_batch_module authors
#
# The servers under test, all below one directory: nginx in one or more
# generations, Redis with its append-only file, the mock as upstream.
#
# A generation is a master with its workers, on one of two ports.  After the
# death of a master its workers live on and keep the port, so the next
# generation listens on a free one, on the same store and the same Redis.  Of
# several nodes each is a generation, whose way to Redis can be cut.

import collections
import os
import random
import signal
import socket
import threading
import time
import urllib.request

from guard import Reaper, alive, children, proc_stat, spawn
from relay import Relay

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds

    while True:
        value = condition()

        if value:
            return value

        if time.monotonic() > end:
            raise TimeoutError('%s: not within %d s' % (what, seconds))

        time.sleep(0.01)


def read(path):
    try:
        with open(path, 'rb') as f:
            return f.read()
    except (FileNotFoundError, ProcessLookupError):
        return b''


class Port:
    """A free port of loopback that stays ours: bound without SO_REUSEADDR it
    is nobody else's, and with the option set later a server may listen."""

    def __init__(self):
        for _ in range(1000):
            self.number = random.SystemRandom().randrange(10000, 32000)
            self.socket = socket.socket()

            try:
                self.socket.bind(('127.0.0.1', self.number))
            except OSError:
                self.socket.close()
                continue

            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return

        raise RuntimeError('no free port')


class Generation:
    def __init__(self, number, port):
        self.number = number
        self.port = port
        self.master = 0           # pid; 0: killed
        self.masters = {}         # pid -> its begin, of all after upgrades
        self.workers = {}         # pid -> its begin, of all that were seen


class Cluster:
    def __init__(self, directory, options):
        self.dir = directory
        self.options = options
        self.concurrency = options['concurrency']
        self.redis_pid = 0
        self.mock_pid = 0
        self.generations = []     # those that have a process, the last is new
        self.started = 0
        self.count = collections.Counter()    # kills by process, losses, ...
        self.killed = {}          # pid -> time.time() of the SIGKILL
        self.orphans = set()      # killed workers without a master
        self.relays = {}          # port -> Relay, of several nodes
        self.explained = []       # of grave lines in the error log
        self.environment = {}     # of nginx
        self.redis_options = []
        self.redis_environment = {}
        self.ended = {}           # worker -> time.time() when it was missed
        self.mock_deaths = []     # time.time()
        self.lock = threading.RLock()
        self.reaper = Reaper()

    def path(self, name):
        return os.path.join(self.dir, name)

    # --- start and stop ----------------------------------------------------

    def start(self):
        os.makedirs(self.path('temp'))
        os.makedirs(self.path('redis'))
        self.own(self.dir)
        self.reaper.start()
        nodes = self.options.get('nodes', 1)
        self.ports = [Port() for _ in range(nodes + 1)]
        self.mock_port = Port()
        self.redis_start()
        self.mock_start()

        for port in self.ports if nodes > 1 else []:
            relay = Relay(self.path('redis.%d.sock' % port.number),
                          self.path('redis.sock'))
            self.relays[port.number] = relay
            relay.start()

        for _ in range(nodes):
            port = self.nginx_start().port.number

            # the index is there, for each worker

            wait_until(lambda: all(self.answers(port, '/v1/files?limit=1')
                                   for _ in range(8)), 30, 'the index')

    def own(self, path):
        """root's workers become the owner of the checkout"""
        if os.getuid() == 0:
            os.chown(path, os.stat(ROOT).st_uid, os.stat(ROOT).st_gid)

    def spawn(self, argv, log, **options):
        return spawn(argv, self.path(log), **options)

    def kill(self, pid, signo=signal.SIGKILL):
        """a signal; True if the process was there"""
        role = self.role(pid) if signo == signal.SIGKILL else ''

        try:
            os.kill(pid, signo)
        except ProcessLookupError:
            return False

        if signo == signal.SIGKILL:
            self.killed[pid] = time.time()
            self.count['killed ' + role] += 1

            if role == 'upstream':
                self.mock_deaths.append(time.time())

            elif role == 'orphan':
                self.orphans.add(pid)

        return True

    def kill_master(self, g):
        """of a stopped one all children are known, also one that was forked
        just now and does not call itself a worker yet"""
        self.kill(g.master, signal.SIGSTOP)
        wait_until(lambda: (proc_stat(g.master) or 'X')[0] in 'TZX', 5,
                   'a stopped master')

        with self.lock:
            for pid in children(g.master):
                stat = proc_stat(pid)

                if stat:
                    g.workers[pid] = stat[2]

        self.kill(g.master)

    def role(self, pid):
        """what the process is; orphan: a worker whose master was killed"""
        for role, one in (('redis', self.redis_pid),
                          ('upstream', self.mock_pid)):
            if pid == one:
                return role

        for g in list(self.generations):
            if pid in g.masters:
                return 'master'

        stat = proc_stat(pid)
        masters = {m for g in list(self.generations) for m in g.masters}
        return 'worker' if stat and stat[1] in masters - set(self.killed) \
            else 'orphan'

    def gone(self, pid, seconds=20):
        wait_until(lambda: not alive(pid), seconds, 'end of %d' % pid)

    def redis_start(self, *arguments, wait=True):
        environment = dict(os.environ, **self.redis_environment)

        with self.lock:
            self.redis_pid = self.spawn(
                [self.options['redis'], '--port', '0',
                 '--unixsocket', self.path('redis.sock'),
                 '--unixsocketperm', '777', '--appendonly', 'yes',
                 '--save', '', '--dir', self.path('redis'),
                 '--daemonize', 'no', *self.redis_options, *arguments],
                'redis.log', env=environment)

        if wait:
            wait_until(self.redis_ready, 30, 'Redis')

    def redis_ready(self):
        try:
            return self.redis('PING') == 'PONG'
        except (OSError, RuntimeError):
            return False

    def redis(self, *words):
        """one command; a list for arrays, None for nil"""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(self.path('redis.sock'))
            s.sendall(b'*%d\r\n' % len(words) + b''.join(
                b'$%d\r\n%s\r\n' % (len(w), w)
                for w in (str(w).encode() for w in words)))

            with s.makefile('rb') as f:
                return self.redis_reply(f)

    def redis_reply(self, f):
        line = f.readline()

        if not line.endswith(b'\r\n'):
            raise OSError('Redis: cut')

        kind, rest = line[:1], line[1:-2].decode()

        if kind == b'-':
            raise RuntimeError(rest)

        if kind == b'$':
            n = int(rest)
            return None if n < 0 else f.read(n + 2)[:-2].decode()

        if kind == b'*':
            return [self.redis_reply(f) for _ in range(int(rest))]

        return rest if kind == b'+' else int(rest)

    def mock_start(self):
        # started anew its log goes on

        self.mock_pid = self.spawn(
            [os.path.join(self.options['build'], 'mock'),
             '-p', str(self.mock_port.number), '-l', self.path('mock.log')],
            'mock.err')

        wait_until(lambda: self.listens(self.mock_port.number), 20, 'mock')

    def listens(self, port):
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
        except OSError:
            return False

        return True

    # --- nginx -------------------------------------------------------------

    def nginx_start(self):
        """a new generation, on a port that no other one has"""
        used = {g.port.number for g in self.generations}
        port = next(p for p in self.ports if p.number not in used)

        self.started += 1
        g = Generation(self.started, port)
        conf = self.path('nginx.%d.conf' % g.number)

        with open(conf, 'w') as f:
            f.write(self.nginx_conf(g))

        # a daemon, for a master takes USR2 only when its parent is not the
        # one that has started it

        pid = self.spawn([self.options['nginx'], '-p', self.dir + '/',
                          '-e', self.path('error.log'), '-c', conf],
                         'nginx.err',
                         env=dict(os.environ, **self.environment))
        self.gone(pid)
        wait_until(lambda: self.reaper.exits.get(pid) is not None, 20, 'exit')

        if self.reaper.exits[pid] != 0:
            raise RuntimeError('nginx has not started, see ' + self.dir)

        wait_until(lambda: self.pid_file(g), 20, 'pid file')
        g.master = self.pid_file(g)
        g.masters[g.master] = proc_stat(g.master)[2]
        wait_until(lambda: self.answers(port.number), 30, 'nginx')

        with self.lock:
            self.generations.append(g)

        return g

    def answers(self, port, path='/up'):
        try:
            with urllib.request.urlopen('http://127.0.0.1:%d%s' % (port, path),
                                        timeout=2) as f:
                return f.status == 200
        except OSError:
            return False

    def nginx_conf(self, g):
        user = ''

        if os.getuid() == 0:
            import pwd
            user = 'user %s;' % pwd.getpwuid(os.stat(ROOT).st_uid).pw_name

        text = read(os.path.join(ROOT, 't/fault/nginx.conf')).decode()

        redis = 'redis.%d.sock' % g.port.number if self.relays \
            else 'redis.sock'

        for name, value in (
                ('MODULE', self.options['module']), ('USER', user),
                ('REDIS', self.path(redis)),
                ('WORKERS', self.options['workers']), ('DIR', self.dir),
                ('GENERATION', g.number), ('PORT', g.port.number),
                ('MOCK', self.mock_port.number),
                ('CONCURRENCY', self.concurrency),
                ('HTTP', self.options.get('http', '')),
                ('API', self.options.get('api', ''))):
            text = text.replace('@%s@' % name, str(value))

        return text

    def pid_file(self, g, suffix=''):
        text = read(self.path('nginx.%d.pid%s' % (g.number, suffix)))
        return int(text) if text.strip().isdigit() else 0

    def workers(self, g=None):
        """pids of live workers, of one generation or of all"""
        pids = []

        with self.lock:
            for one in [g] if g else list(self.generations):
                for master, begun in list(one.masters.items()):
                    if not alive(master, begun):
                        continue

                    for pid in children(master):
                        stat = proc_stat(pid)

                        if stat and b'worker' in read('/proc/%d/cmdline'
                                                      % pid):
                            one.workers[pid] = stat[2]

                for pid, begun in list(one.workers.items()):
                    if alive(pid, begun):
                        pids.append(pid)
                    else:
                        self.ended[pid] = time.time()
                        del one.workers[pid]

        return sorted(pids)

    def newest(self):
        return self.generations[-1]

    def some(self, rng):
        """one of those that have a master"""
        return rng.choice([g for g in self.generations if g.master])

    def forget(self):
        """drops generations that have no process any more"""
        with self.lock:
            for g in list(self.generations):
                if not g.master and not self.workers(g):
                    self.generations.remove(g)

    def api_ports(self):
        with self.lock:
            return [g.port.number for g in self.generations]

    def nginx_quit(self, g):
        self.workers(g)
        self.kill(g.master, signal.SIGQUIT)
        self.gone(g.master, 60)
        g.master = 0
        self.forget()

    def heirs(self):
        return [p for p in children(os.getpid()) if alive(p)]

    def stop(self):
        """a graceful end; what is then still there was not ours to leave"""
        for g in list(self.generations):
            if g.master:
                self.nginx_quit(g)

        for pid in (self.mock_pid, self.redis_pid):
            if pid and alive(pid):
                self.kill(pid, signal.SIGTERM)
                self.gone(pid)

        left = self.heirs()

        for pid in left:
            self.kill(pid)

        self.reaper.ended.set()
        self.reaper.join()

        return left
