# Copyright (C) the ngx_http_batch_module authors
#
# What was promised, what was seen, and what is wrong with it.  All threads
# tell it; methods lock.

import collections
import hashlib
import json
import math
import threading

TERMINAL = ('completed', 'failed', 'expired', 'cancelled')

# from -> all that may be seen later on, not only the next one

LATER = {
    'validating': {'in_progress', 'finalizing', 'cancelling', *TERMINAL},
    'in_progress': {'finalizing', 'cancelling', 'completed', 'expired',
                    'cancelled'},
    'finalizing': {'cancelling', 'completed', 'expired', 'cancelled'},
    'cancelling': {'cancelled'},
}


class History:
    def __init__(self):
        self.lock = threading.RLock()
        self.violations = []
        self.more = 0
        self.failures = []        # (begun, ended, kind, method, path, text)
        self.requests = 0
        self.faults = []          # {name, begun, ended or None, excuses, late}
        self.seen = {}            # batch id -> (ended, object) of a client
        self.files = {}           # acknowledged: id -> {bytes, sha, deleted}
        self.batches = {}         # acknowledged: id -> spec
        self.specs = {}           # tag -> spec, from before the first request
        self.uploads = {}         # file name -> {key, acked}
        self.tally = collections.Counter()    # lines missing, doubled

    def bad(self, text):
        with self.lock:
            if len(self.violations) < 50:
                self.violations.append(text)
            else:
                self.more += 1

    # --- faults --------------------------------------------------------------

    def fault(self, name, begun, excuses=(), late=False, after=3,
              sleeps=False, group=''):
        """from now on, until the caller sets "ended"; see faults.py"""
        record = {'name': name, 'begun': begun, 'ended': None,
                  'excuses': set(excuses), 'late': late, 'after': after,
                  'sleeps': sleeps, 'group': group}

        with self.lock:
            self.faults.append(record)

        return record

    def excused(self, kind, begun, ended):
        """is there a fault that explains a failure in this time"""
        return any(kind in f['excuses'] and f['begun'] <= ended
                   and begun <= self.felt(f) for f in self.faults)

    def felt(self, f):
        """until when; by a process that was stopped, when it has woken up"""
        if f['ended'] is None:
            return math.inf

        ends = [f['ended']]

        for s in self.faults:
            if s['sleeps'] and s['begun'] <= f['ended'] + f['after']:
                if s['ended'] is None:
                    return math.inf

                if s['ended'] >= f['begun']:
                    ends.append(s['ended'])

        return max(ends) + f['after']

    def late(self, begun, ended):
        """may leases have been lost by workers that live: the latest fault
        that explains it, by its begin, or 0"""
        return max((f['begun'] for f in self.faults
                    if f['late'] and f['begun'] <= ended
                    and (f['ended'] is None or begun <= f['ended'] + 15)),
                   default=0)

    def hindered(self, begun, ended):
        """the faults by which others could not go on with a killed worker's
        lines: without Redis, with its clock set, or asleep"""
        return [f for f in self.faults
                if f['group'] in ('redis', 'clock', 'stop')
                and f['begun'] <= ended and begun <= self.felt(f)]

    # --- answers -------------------------------------------------------------

    def answered(self, method, path, reply):
        kind = reply.failure
        text = ''

        if reply.status >= 500:
            kind = 'status:%d' % reply.status

        if reply.status >= 400:
            text = self.error_shape(method, path, reply)

        with self.lock:
            self.requests += 1

            if kind:
                self.failures.append((reply.begun, reply.ended, kind, method,
                                      path, text))

    def error_shape(self, method, path, reply):
        """checks it; the message"""
        error = {}

        try:
            error = json.loads(reply.body)['error']
            good = isinstance(error['message'], str) and 'code' in error
        except (ValueError, KeyError, TypeError):
            good = False

        if not good:
            self.bad('%s %s: %d is no error object: %r'
                     % (method, path, reply.status, reply.body[:200]))

        if reply.status == 503 and 'retry-after' not in reply.headers:
            self.bad('%s %s: 503 without Retry-After' % (method, path))

        return error.get('message', '') if good else ''

    def judge_failures(self):
        """counts by kind: (with an explanation, without one)"""
        counts = {}

        for begun, ended, kind, method, path, text in self.failures:
            good = self.excused(kind, begun, ended)
            pair = counts.setdefault(kind, [0, 0])
            pair[0 if good else 1] += 1

            if not good:
                self.bad('%.3f %s %s: %s %s, and no fault explains it'
                         % (begun, method, path, kind, text))

        return counts

    # --- files ---------------------------------------------------------------

    def file_acked(self, obj, data):
        with self.lock:
            if obj['bytes'] != len(data):
                self.bad('%s: %d bytes of %d' % (obj['id'], obj['bytes'],
                                                 len(data)))

            self.files[obj['id']] = {'bytes': len(data),
                                     'sha': hashlib.sha256(data).digest(),
                                     'deleted': False, 'deleting': False}

    def result_seen(self, file_id, data):
        with self.lock:
            if file_id not in self.files:
                self.files[file_id] = {
                    'bytes': len(data),
                    'sha': hashlib.sha256(data).digest(),
                    'deleted': False, 'deleting': False}

    def file_deleting(self, file_id):
        with self.lock:
            self.files[file_id]['deleting'] = True

    def file_deleted(self, file_id):
        with self.lock:
            self.files[file_id]['deleted'] = True

    def check_file(self, file_id, reply, deleted):
        """the answer to a download; deleted: it was before the request"""
        was = self.files[file_id]

        if reply is None:
            return

        if reply.status == 404:
            if not was['deleting']:
                self.bad('%s: acknowledged, not deleted, and 404' % file_id)

        elif reply.status != 200:
            self.bad('%s: content answers %d' % (file_id, reply.status))

        elif deleted:
            self.bad('%s: deleted, and there again' % file_id)

        elif (len(reply.body) != was['bytes']
              or hashlib.sha256(reply.body).digest() != was['sha']):
            self.bad('%s: other content, %d bytes of %d'
                     % (file_id, len(reply.body), was['bytes']))

    # --- batches -------------------------------------------------------------

    def observe(self, obj, begun, ended):
        """a batch object; compared with the latest that ended before it"""
        batch = obj['id']

        with self.lock:
            last = self.seen.get(batch)

            if last is None or last[0] < begun:
                if last:
                    self.compare(batch, last[1], obj)

                self.seen[batch] = (ended, obj)

    def compare(self, batch, old, new):
        was, now = old['status'], new['status']

        if was != now and now not in LATER.get(was, ()):
            self.bad('%s: from %s to %s' % (batch, was, now))

        for key, value in old.items():
            if (key.endswith('_at') and value is not None
                    and new.get(key) != value):
                self.bad('%s: %s was %s, is %s'
                         % (batch, key, value, new.get(key)))

        for key, value in old['request_counts'].items():
            if new['request_counts'][key] < value:
                self.bad('%s: %s fell from %d to %d, %s, %s'
                         % (batch, key, value, new['request_counts'][key],
                            was, now))

        if was in TERMINAL and old != new:
            self.bad('%s: %s, and changed: %s'
                     % (batch, was, {k: (v, new.get(k))
                                     for k, v in old.items()
                                     if new.get(k) != v}))
