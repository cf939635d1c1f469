"""The bench's servers and what it reads of them.

One Rig is a private Redis on a unix socket, the upstream of upstream.c, and
one or more nginx on loopback, all below one directory.  Whatever a Rig has
started ends with it, and with this process.
"""

import contextlib
import ctypes
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get('BUILD', ROOT + '/build')
TICK = os.sysconf('SC_CLK_TCK')

CONF = '''\
load_module {module};
{user}
worker_processes {workers};
master_process {master};
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
worker_rlimit_nofile 16384;
events {{ worker_connections 4096; }}

http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;

    batch_redis unix:{base}/redis.sock;
    batch_store {store};

    proxy_http_version 1.1;
    proxy_set_header Connection "";

    upstream inference {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 100000000;
        keepalive_timeout 60s;
    }}

    server {{
        listen 127.0.0.1:{port};

        location /v1/ {{ proxy_pass http://inference; }}

        location ~ ^/v1/(files|uploads|batches) {{
            client_max_body_size 0;
            client_body_buffer_size 1m;
            batch_api;
            batch_pass /batch-lines;
            batch_concurrency {concurrency};
            batch_max_requests 0;
            batch_max_file_size 0;
        }}

        location /batch-lines/ {{
            internal;
            proxy_pass http://inference/;
            client_max_body_size 0;
        }}

        location = /batch-status {{ batch_status; }}
        location /static/ {{ alias {base}/static/; sendfile on; }}

        location = /body {{
            client_max_body_size 0;
            client_body_buffer_size 1m;
            client_body_in_file_only on;
            proxy_pass_request_body off;
            proxy_set_header X-File $request_body_file;
            proxy_set_header Content-Length "";
            proxy_pass http://127.0.0.1:{port}/nothing;
        }}

        location = /discard {{ client_max_body_size 0; return 200; }}
        location = /nothing {{ add_header X-File $http_x_file; return 200; }}
    }}
}}
'''


def _preexec():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def free_port():
    while True:
        port = random.randrange(10000, 32000)

        with socket.socket() as s:
            try:
                s.bind(('127.0.0.1', port))
            except OSError:
                continue

        return port


def spawn(log, *cmd):
    with open(log, 'ab') as f:
        return subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=f,
                                stderr=f, preexec_fn=_preexec)


def end(proc, sig=signal.SIGTERM):
    if proc and proc.poll() is None:
        proc.send_signal(sig)

        try:
            proc.wait(20)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait()


def wait(what, seconds=20.0, step=0.005):
    stop = time.monotonic() + seconds

    while time.monotonic() < stop:
        x = what()

        if x:
            return x

        time.sleep(step)

    raise RuntimeError('the bench waited in vain')


class Nginx:
    """One node: its master and workers; one process if wrap, the command that
    it is run by, is not empty."""

    def __init__(self, rig, name, workers, concurrency, wrap):
        self.rig = rig
        self.dir = f'{rig.dir}/{name}'
        self.port = free_port()
        os.makedirs(self.dir, exist_ok=True)
        user = ''

        if os.getuid() == 0:
            import pwd
            user = f'user {pwd.getpwuid(os.stat(ROOT).st_uid).pw_name};'

        with open(f'{self.dir}/nginx.conf', 'w') as f:
            f.write(CONF.format(
                module=BUILD + '/ngx_http_batch_module.so', user=user,
                workers=workers, dir=self.dir, base=rig.dir,
                store=rig.store, upstream=rig.upstream_port, port=self.port,
                concurrency=concurrency, master='off' if wrap else 'on'))

        binary = os.environ.get('NGINX', '/usr/sbin/nginx')
        self.proc = spawn(f'{self.dir}/stderr.log', *wrap, binary, '-p',
                          self.dir, '-e', f'{self.dir}/error.log', '-c',
                          f'{self.dir}/nginx.conf')
        wait(self.ready, 60)

    def ready(self):
        if self.proc.poll() is not None:
            raise RuntimeError(f'nginx did not start, see {self.dir}')

        try:
            return self.call('GET', '/v1/batches')[0] == 200
        except OSError:
            return False

    def workers(self):
        path = f'/proc/{self.proc.pid}/task/{self.proc.pid}/children'

        with open(path) as f:
            return [int(x) for x in f.read().split()]

    def cpu(self):
        """Seconds of CPU of all workers, their threads included."""
        total = 0

        for pid in self.workers():
            with open(f'/proc/{pid}/stat') as f:
                w = f.read().rsplit(')', 1)[1].split()
            total += int(w[11]) + int(w[12])

        return total / TICK

    def memory(self, field='VmHWM'):
        """The largest worker, in bytes: peak (VmHWM) or now (VmRSS)."""
        most = 0

        for pid in self.workers():
            with open(f'/proc/{pid}/status') as f:
                for line in f:
                    if line.startswith(field):
                        most = max(most, int(line.split()[1]) * 1024)

        return most

    def reset_memory(self):
        for pid in self.workers():
            with open(f'/proc/{pid}/clear_refs', 'w') as f:
                f.write('5')

    def call(self, method, path, body=None, timeout=60):
        c = http.client.HTTPConnection('127.0.0.1', self.port,
                                       timeout=timeout)
        with contextlib.closing(c):
            head = {'Content-Type': 'application/json'} if body else {}
            c.request(method, path, body, head)
            r = c.getresponse()
            return r.status, r.read()

    def json(self, method, path, body=None):
        status, text = self.call(method, path,
                                 json.dumps(body) if body else None)

        if status != 200:
            raise RuntimeError(f'{method} {path}: {status} {text[:200]!r}')

        return json.loads(text)

    def upload(self, path):
        out = subprocess.run(
            ['curl', '-sS', '-F', 'purpose=batch', '-F', f'file=@{path}',
             f'http://127.0.0.1:{self.port}/v1/files'],
            check=True, capture_output=True).stdout
        return json.loads(out)['id']

    def create(self, file_id):
        return self.json('POST', '/v1/batches',
                         {'input_file_id': file_id,
                          'endpoint': '/v1/chat/completions',
                          'completion_window': '24h'})['id']

    def finish(self, batch, seconds=900, states=('completed',), poll=0.004):
        """Polls each poll seconds; the batch, or RuntimeError."""
        stop = time.monotonic() + seconds
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)

        with contextlib.closing(c):
            while time.monotonic() < stop:
                c.request('GET', f'/v1/batches/{batch}')
                b = json.loads(c.getresponse().read())

                if b['status'] in states:
                    return b

                if b['status'] in ('failed', 'expired', 'cancelled'):
                    raise RuntimeError(f'{batch}: {json.dumps(b)[:500]}')

                time.sleep(poll)

        raise RuntimeError(f'{batch}: no end after {seconds} s')

    def delete_all(self):
        """What a row leaves on the disk is not part of the next one's work."""
        after = ''

        while True:
            page = self.json('GET', f'/v1/files?limit=1000{after}')

            for f in page['data']:
                self.call('DELETE', f'/v1/files/{f["id"]}')

            if not page['has_more']:
                return

            after = f'&after={page["last_id"]}'

    def stop(self):
        end(self.proc, signal.SIGTERM)


class Rig:
    def __init__(self, name='rig'):
        self.dir = f'{BUILD}/bench/{name}'
        self.store = self.dir + '/store'
        self.nodes = []
        self.redis = self.upstream = None
        self.upstream_port = free_port()
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir + '/redis')
        os.makedirs(self.dir + '/static')
        os.makedirs(self.store, 0o700)

        if os.getuid() == 0:
            st = os.stat(ROOT)
            os.chown(self.store, st.st_uid, st.st_gid)

        self.start_redis()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        for n in self.nodes:
            n.stop()

        end(self.upstream)
        end(self.redis)

        if args[0] is None:
            shutil.rmtree(self.dir, ignore_errors=True)

    def start_redis(self):
        binary = shutil.which('redis-server') or shutil.which('valkey-server')
        sock = self.dir + '/redis.sock'
        self.redis = spawn(self.dir + '/redis.log', binary, '--port', '0',
                           '--unixsocket', sock, '--unixsocketperm', '777',
                           '--appendonly', 'yes', '--save', '', '--dir',
                           self.dir + '/redis')
        wait(lambda: os.path.exists(sock))

    def ask_redis(self, *args):
        return subprocess.run(
            ['redis-cli', '-s', self.dir + '/redis.sock', *args],
            check=True, capture_output=True, text=True).stdout

    def redis_commands(self):
        """What clients have sent: the module asks by scripts only, and what
        a script does inside is one command for the network and for Redis."""
        n = 0

        for line in self.ask_redis('INFO', 'commandstats').splitlines():
            if line.startswith(('cmdstat_evalsha:', 'cmdstat_eval:')):
                n += int(line.split('calls=')[1].split(',')[0])

        return n

    def redis_memory(self):
        for line in self.ask_redis('INFO', 'memory').splitlines():
            if line.startswith('used_memory:'):
                return int(line.split(':')[1])

    def start_upstream(self, *args):
        end(self.upstream)
        self.upstream = spawn(self.dir + '/upstream.log',
                              BUILD + '/bench/upstream', '-p',
                              str(self.upstream_port), *map(str, args))

        def up():
            with contextlib.suppress(OSError):
                return self.upstream_stats()

        wait(up)

    def upstream_call(self, method, path):
        c = http.client.HTTPConnection('127.0.0.1', self.upstream_port,
                                       timeout=20)
        with contextlib.closing(c):
            c.request(method, path)
            return json.loads(c.getresponse().read())

    def upstream_stats(self):
        return self.upstream_call('GET', '/stats')

    def upstream_reset(self):
        return self.upstream_call('POST', '/reset')

    def start_nginx(self, workers=1, concurrency=64, name='node', wrap=()):
        n = Nginx(self, name, workers, concurrency, wrap)
        self.nodes.append(n)
        return n

    def stop_nginx(self):
        for n in self.nodes:
            n.stop()

        self.nodes = []


def client(port, uri, *args):
    """client.c, its JSON."""
    out = subprocess.run([BUILD + '/bench/client', '-p', str(port), '-u', uri,
                          *map(str, args)], check=True, capture_output=True)
    return json.loads(out.stdout)


class Probe:
    """client.c at a fixed rate while something else goes on."""

    def __init__(self, port, uri, rate, seconds, *args):
        self.proc = subprocess.Popen(
            [BUILD + '/bench/client', '-p', str(port), '-u', uri, '-r',
             str(rate), '-t', str(seconds), '-c', '16', *map(str, args)],
            stdout=subprocess.PIPE, preexec_fn=_preexec)

    def result(self):
        return json.loads(self.proc.communicate(timeout=600)[0])


def words(n):
    text = 'the quick brown fox jumps over the lazy dog and then naps '
    return (text * (n // len(text) + 1))[:n]


def body(size):
    """A chat completion's body of about size bytes."""
    b = {'model': 'm', 'messages': [{'role': 'user', 'content': ''}]}
    b['messages'][0]['content'] = words(
        max(1, size - len(json.dumps(b, separators=(',', ':')))))
    return json.dumps(b, separators=(',', ':'))


def lines_file(rig, name, n, size, bad=()):
    """n lines whose bodies have size bytes; the lines in bad (1-based) have
    a url that is not the batch's."""
    path = f'{rig.dir}/static/{name}'
    b = body(size)
    bad = set(bad)

    with open(path, 'w', buffering=1 << 20) as f:
        for i in range(1, n + 1):
            url = '/v1/nowhere' if i in bad else '/v1/chat/completions'
            f.write(f'{{"custom_id":"req-{i}","method":"POST","url":"{url}",'
                    f'"body":{b}}}\n')

    return path


def bodies_file(rig, name, n, size):
    path = f'{rig.dir}/static/{name}'

    with open(path, 'w') as f:
        f.write((body(size) + '\n') * n)

    return path
