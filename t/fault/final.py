# Copyright (C) the ngx_http_batch_module authors
#
# The checks at the end of a run, when all faults are undone and the clients
# have gone: every promise once more, and what must not be left.

import collections
import json
import os
import re
import time
from urllib.request import urlopen

from cluster import read, wait_until
from history import TERMINAL
from load import judge

LOG = re.compile(rb'^\S+ \S+ \[(alert|emerg|crit)\] (\d+)#')
SIGNAL = re.compile(rb'process (\d+) exited on signal (\d+)')


def all_batches_end(driver, actor):
    """those, too, of which no client was ever told"""
    history = driver.history
    pending = []

    def over():
        pending[:] = [b for b in actor.client.listed('batches') or []
                      if b['status'] not in TERMINAL]
        return not pending

    try:
        wait_until(over, driver.options['patience'], 'batches')
    except TimeoutError:
        for b in pending:
            history.bad('%s: still %s, %s' % (b['id'], b['status'],
                                              b['request_counts']))


def promises(driver, actor):
    """every 200 is still true"""
    history = driver.history
    batches = {b['id']: b for b in actor.client.listed('batches') or []}
    files = {f['id']: f for f in actor.client.listed('files') or []}

    for batch_id in history.batches:
        if batch_id not in batches:
            history.bad('%s: acknowledged, and not in the list' % batch_id)

    tags = collections.Counter()

    for batch in batches.values():
        spec = history.specs.get((batch['metadata'] or {}).get('tag'))

        if spec is None:
            history.bad('%s: nobody asked for it' % batch['id'])
            continue

        tags[spec.tag] += 1
        now = time.time()
        history.observe(batch, now, now)

        if batch['status'] in TERMINAL:
            judge(actor, spec, batch)

    for tag, n in tags.items():
        if n > 1 and history.specs[tag].key:
            history.bad('%s: %d batches of one Idempotency-Key' % (tag, n))

    names = collections.Counter(f['filename'] for f in files.values())

    for name, upload in history.uploads.items():
        if names[name] > 1 and upload['key']:
            history.bad('%s: %d files of one Idempotency-Key'
                        % (name, names[name]))

    for file_id, was in history.files.items():
        if was['deleted'] and file_id in files:
            history.bad('%s: deleted, and in the list' % file_id)

        if not was['deleting'] and file_id not in files:
            history.bad('%s: acknowledged, and not in the list' % file_id)

        history.check_file(file_id, actor.client.content(file_id),
                           was['deleted'])

    return {'batches': len(batches), 'files': len(files),
            'batches_unacknowledged': len(set(batches)
                                          - set(history.batches))}


# --- what is left ------------------------------------------------------------

def store_files(store):
    """relative paths of all files"""
    found = []

    for where, _, names in os.walk(store):
        found += [os.path.relpath(os.path.join(where, n), store)
                  for n in names]

    return sorted(found)


def batches_on_disk(cluster):
    return {os.path.basename(os.path.dirname(f))
            for f in store_files(cluster.path('store'))
            if os.path.basename(f) == 'batch.json'}


def leftovers(store):
    """(in tmp/, work files of ended batches, blobs without manifest)"""
    files = store_files(store)
    have = set(files)

    return ([f for f in files if f.startswith('tmp/')],
            [f for f in files if f.endswith(('.seg', '.seal'))
             and os.path.join(os.path.dirname(f), 'final.json') in have],
            [f for f in files if f.startswith('files/')
             and '.' not in os.path.basename(f) and f + '.json' not in have])


def disk(driver):
    """what crashes leave; without a crash there is nothing"""
    tmp, work, blobs = leftovers(driver.cluster.path('store'))
    explained = any(f['late'] or 'cut' in f['excuses'] for f in driver.history.faults)

    if not explained:
        for f in tmp + work + blobs:
            driver.history.bad('left behind without a crash: %s' % f)

    return {'tmp': len(tmp), 'work': len(work), 'blobs': len(blobs)}


def swept(driver):
    """when it is old, nginx takes it away, and leaves the rest alone"""
    cluster, history = driver.cluster, driver.history
    store = cluster.path('store')
    old = time.time() - 4 * 86400

    for f in sum(leftovers(store), []):
        os.utime(os.path.join(store, f), (old, old))

    # A tombstone goes with the blob that it was for.  Who was killed between
    # link() and unlink() has left a second name of what it has published: of
    # a key's record it has become old, too, and that is all it is kept by.

    aged = {os.stat(os.path.join(store, f)).st_ino
            for f in sum(leftovers(store), [])}
    before = {f for f in store_files(store) if not f.endswith('.del')
              and not f.startswith('workers/')
              and not (f.startswith('keys/') and os.stat(
                  os.path.join(store, f)).st_ino in aged)} \
        - set(sum(leftovers(store), []))
    cluster.nginx_quit(cluster.newest())
    cluster.nginx_start()

    try:
        wait_until(lambda: not any(leftovers(store)), 60, 'sweep')
    except TimeoutError:
        for f in sum(leftovers(store), [])[:5]:
            history.bad('never swept: %s' % f)

    for f in sorted(before - set(store_files(store)))[:5]:
        history.bad('swept, and it was needed: %s' % f)


def index(driver):
    """Redis has what the disk has, and no more"""
    cluster, history = driver.cluster, driver.history
    keys = cluster.redis('KEYS', '*')
    have = set(store_files(cluster.path('store')))
    disk_files, disk_batches = set(), batches_on_disk(cluster)

    for f in have:
        name = os.path.basename(f)

        if f.startswith('files/') and name.endswith('.json') \
                and f[:-5] + '.del' not in have:
            disk_files.add(name[:-5])

    known = collections.defaultdict(set)

    for key in keys:
        kind, _, rest = key.partition(':')[2].partition(':')
        known[kind].add(rest)

    for what, disk_ids, ids in (('file', disk_files, known['f']),
                                ('batch', disk_batches, known['b'])):
        for one in sorted(disk_ids - ids):
            history.bad('%s %s is on disk and not in Redis' % (what, one))

        for one in sorted(ids - disk_ids):
            history.bad('%s %s is in Redis and not on disk' % (what, one))

    for kind in ('c', 'l', 'active'):
        for one in known[kind]:
            history.bad('left in Redis: %s:%s' % (kind, one))

    # a lock whose owner was killed ends by itself

    for one in known['rebuild']:
        if cluster.redis('TTL', '{batch}:rebuild:' + one) == -1:
            history.bad('left in Redis: rebuild:' + one)


def quiet(driver):
    """nothing is held by workers that have nothing to do"""
    cluster, history = driver.cluster, driver.history
    store = cluster.path('store')

    def idle_on(port):
        try:
            with urlopen('http://127.0.0.1:%d/batch-status' % port,
                         timeout=5) as f:
                status = json.load(f)
        except OSError:
            return False

        return status['chunks'] == 0 and status['redis'] == 'ready' \
            and not any(r['inflight'] for r in status['routes'])

    def idle():
        return all(idle_on(port) for port in cluster.api_ports())

    try:
        wait_until(idle, 30, 'idle workers')
    except TimeoutError:
        history.bad('the workers hold chunks, and there is no batch')

    def held():
        found = []

        for pid in cluster.workers():
            where = '/proc/%d/fd' % pid

            for fd in os.listdir(where):
                try:
                    target = os.readlink(os.path.join(where, fd))
                except FileNotFoundError:
                    continue

                # each worker holds the store's rooms, tmp, files, ..., and
                # its own file in workers/

                if target.startswith(store + '/') \
                        and '/' in target[len(store) + 1:] \
                        and not target.startswith(store + '/workers/'):
                    found.append('%d holds %s' % (pid, target))

        return found

    try:
        wait_until(lambda: not held(), 10, 'descriptors')
    except TimeoutError:
        for text in held()[:5]:
            history.bad(text)

    # who has died has been buried, who lives has a file

    def files():
        return os.listdir(os.path.join(store, 'workers'))

    try:
        wait_until(lambda: len(files()) == len(cluster.workers()), 30,
                   'workers')
    except TimeoutError:
        history.bad('%d workers live, and have these files: %s'
                    % (len(cluster.workers()), ' '.join(files())))


def logs(driver):
    """nothing grave but what a kill explains; how children ended"""
    cluster, history = driver.cluster, driver.history
    grave = 0

    for line in read(cluster.path('error.log')).splitlines():
        if not LOG.match(line):
            continue

        m = SIGNAL.search(line)

        if m and m[2] == b'9' and int(m[1]) in cluster.killed:
            continue

        if any(r.search(line) for r in cluster.explained):
            continue

        grave += 1

        if grave <= 10:
            history.bad('log: ' + line.decode(errors='replace')[:400])

    for pid, status in cluster.reaper.exits.items():
        if status != 0 and not (os.WIFSIGNALED(status)
                                and pid in cluster.killed):
            history.bad('process %d ended with status %d' % (pid, status))

    for name in ('nginx.err', 'mock.err'):
        text = read(cluster.path(name)).strip()

        if text:
            history.bad('%s: %s' % (name, text.decode(errors='replace')[:300]))
