#!/usr/bin/python3
"""fair.py [places] [hooks] - do tenants, and receivers of webhooks, stay apart?

By hand, after bench/build.sh.  What it measures takes minutes and depends on
time, so it is no part of make bench or make test.

places  Tenant A has 50 batches, tenant B one; each line takes 100 ms, 16 may
        be in flight.  For 10 s from B's first line on: how many lines of each
        were in flight at the upstream, on average and at least, and how long
        B's first line took.  With 1 and with 2 workers.
hooks   Ten receivers take a webhook and never answer, each with many due, one
        answers at once: how long after the creation of a batch of one line that one
        has its webhook.  Each receiver is a tenant's, behind one location.
"""

import asyncio
import http.client
import json
import multiprocessing
import os
import sys
import threading
import time

import rig
from rig import Rig, free_port

PLACES = '''
            batch_concurrency {concurrency};
            batch_tenant t-$http_x_tenant;
'''

HOOKS = '''
        location = /hook {{
            internal;
            proxy_pass http://127.0.0.1:$receiver;
            proxy_set_header X-Tenant $batch_tenant;
            proxy_read_timeout 60s;
        }}

        location /batch-lines/ {{'''

rig.CONF = rig.CONF.replace(
    '\n            batch_concurrency {concurrency};\n', PLACES).replace(
    '            proxy_pass http://inference/;\n', '''\
            proxy_pass http://inference/;
            proxy_set_header X-Tenant $batch_tenant;
''')

PLAIN = rig.CONF


class Server:
    """HTTP on a port, in a process of its own: answers after ms (None: never),
    and remembers (tenant, path or batch, came, answered)."""

    def __init__(self, port, ms):
        self.pipe, child = multiprocessing.Pipe()
        self.proc = multiprocessing.Process(target=self.run,
                                            args=(port, ms, child),
                                            daemon=True)
        self.proc.start()
        self.pipe.recv()

    def log(self):
        self.pipe.send('log')
        return self.pipe.recv()

    def run(self, port, ms, pipe):
        log = []
        body = json.dumps({'id': 'x', 'object': 'chat.completion',
                           'model': 'm', 'choices': [],
                           'usage': {'prompt_tokens': 1,
                                     'completion_tokens': 1,
                                     'total_tokens': 2}}).encode()
        answer = (b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
                  b'Content-Length: %d\r\n\r\n' % len(body)) + body

        async def serve(r, w):
            try:
                while True:
                    head = (await r.readuntil(b'\r\n\r\n')).decode('latin-1')
                    h = dict(x.lower().split(': ', 1)
                             for x in head.split('\r\n')[1:] if ': ' in x)
                    text = await r.readexactly(int(h['content-length']))
                    e = [h['x-tenant'][2:], '', time.time(), None]
                    if 'webhook-id' in h:
                        e[1] = json.loads(text)['data']['id']
                    log.append(e)
                    if ms is None:
                        await r.read(1)
                        return
                    await asyncio.sleep(ms / 1000)
                    w.write(answer)
                    e[3] = time.time()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                w.close()

        def ask():
            while True:
                try:
                    pipe.recv()
                except EOFError:
                    os._exit(0)
                pipe.send([list(e) for e in log])

        async def main():
            s = await asyncio.start_server(serve, '127.0.0.1', port,
                                           backlog=1024)
            threading.Thread(target=ask, daemon=True).start()
            pipe.send('up')
            await s.serve_forever()

        asyncio.run(main())


class Client:
    def __init__(self, node, tenant):
        self.node, self.tenant = node, tenant

    def call(self, method, path, body=None, type_='application/json'):
        c = http.client.HTTPConnection('127.0.0.1', self.node.port, timeout=60)
        c.request(method, path, body, {'X-Tenant': self.tenant,
                                       'Content-Type': type_})
        r = c.getresponse()
        text = r.read()
        c.close()
        if r.status != 200:
            raise RuntimeError(f'{method} {path}: {r.status} {text[:200]!r}')
        return json.loads(text)

    def upload(self, n):
        lines = '\n'.join(json.dumps(
            {'custom_id': f'{i}', 'method': 'POST',
             'url': '/v1/chat/completions',
             'body': {'model': 'm', 'messages': []}}) for i in range(n))
        part = ('--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n'
                'batch\r\n--x\r\nContent-Disposition: form-data; name="file";'
                ' filename="a.jsonl"\r\n\r\n' + lines + '\r\n--x--\r\n')
        return self.call('POST', '/v1/files', part,
                         'multipart/form-data; boundary=x')['id']

    def create(self, file_id):
        return self.call('POST', '/v1/batches', json.dumps(
            {'input_file_id': file_id, 'endpoint': '/v1/chat/completions',
             'completion_window': '24h'}))['id']


def mean_inflight(log, tenant, t0, t1):
    """lines in flight: the average, and the least of 100 looks"""
    spans = [(e[2], e[3] or t1) for e in log if e[0] == tenant]
    area = sum(max(0, min(b, t1) - max(a, t0)) for a, b in spans)
    looks = [sum(a <= t < b for a, b in spans)
             for t in (t0 + (t1 - t0) * (i + .5) / 100 for i in range(100))]
    return area / (t1 - t0), min(looks)


def places(workers, batches=50):
    rig.CONF = PLAIN

    with Rig('fair') as r:
        server = Server(r.upstream_port, 100)
        node = r.start_nginx(workers, 16)
        a, b = Client(node, 'a'), Client(node, 'b')
        big, one = a.upload(2000), b.upload(2000)

        for _ in range(batches):
            a.create(big)

        time.sleep(5)
        created = time.time()
        b.create(one)
        time.sleep(14)

        log = server.log()
        first = min((e[2] for e in log if e[0] == 'b'), default=None)

        if first is None:
            print(f'places, {workers} workers: no line of B in 14 s')
        else:
            t1 = min(first + 10, time.time())
            (ma, la), (mb, lb) = (mean_inflight(log, x, first, t1)
                                  for x in 'ab')
            print(f'places, {workers} workers, {batches} batches of A, 1 of B:'
                  f' in flight A {ma:.1f} (least {la}), B {mb:.1f}'
                  f' (least {lb}); first line of B after'
                  f' {(first - created) * 1000:.0f} ms')

        server.proc.kill()


def hooks(workers, hanging=10, due=100, living=60):
    names = [f't{i}' for i in range(hanging)]
    ports = {n: free_port() for n in names + ['live']}

    rig.CONF = PLAIN.replace(
        '        location /batch-lines/ {{', HOOKS).replace(
        '            batch_pass /batch-lines;\n', '''\
            batch_pass /batch-lines;
            batch_webhook /hook secret=a;
''').replace('    server {{\n        listen', '''\
    map $batch_tenant $receiver {{
''' + '\n'.join(f't-{n} {p};' for n, p in ports.items()) + '''
    }}

    server {{
        listen''')

    with Rig('fair') as r:
        upstream = Server(r.upstream_port, 0)
        receivers = {n: Server(p, None if n != 'live' else 0)
                     for n, p in ports.items()}
        node = r.start_nginx(workers, 64)
        clients = {n: Client(node, n) for n in ports}
        files = {n: c.upload(1) for n, c in clients.items()}

        for _ in range(due):
            for n in names:
                clients[n].create(files[n])

        time.sleep(3)
        created = {}

        for _ in range(living):
            t = time.time()
            created[clients['live'].create(files['live'])] = t
            time.sleep(1)

        stop = time.time() + 120

        while time.time() < stop:
            came = {e[1]: e[2] for e in reversed(receivers['live'].log())}

            if all(x in came for x in created):
                break

            time.sleep(.5)

        delays = sorted(came[x] - t for x, t in created.items()
                        if x in came)
        got = sum(len(s.log()) for n, s in receivers.items() if n != 'live')

        if not delays:
            print(f'hooks, {workers} workers: none of {living} delivered')
        else:
            print(f'hooks, {workers} workers, {hanging} hanging x {due} due:'
                  f' {len(delays)} of {living} delivered, from creation'
                  f' p50 {delays[len(delays) // 2]:.2f} s'
                  f' p99 {delays[int(len(delays) * .99)]:.2f} s'
                  f' max {delays[-1]:.2f} s; {got} attempts hung')

        for s in [upstream, *receivers.values()]:
            s.proc.kill()


def main():
    what = sys.argv[1:] or ['places', 'hooks']

    for w in (1, 2):
        if 'places' in what:
            places(w)
        if 'hooks' in what:
            hooks(w)


if __name__ == '__main__':
    main()
