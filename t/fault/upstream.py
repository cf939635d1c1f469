# Copyright (C) the ngx_http_batch_module authors
#
# What the upstream saw (the mock's log) against what was durable when (the
# segments in the store): which lines were sent again, and why.

import collections
import mmap
import os
import re
import struct
import threading
import time

from lines import FAIL_ONCE

RECORD = 84
GROUP = 256                  # records that wait for one sync, at most
WORD = re.compile(r'^(\d+) POST \S+ \d+ line=(batch_\w+):(\d+):(\d+):(\d+) ')

Send = collections.namedtuple('Send', 'time pid attempt')


def sends(log):
    """(batch, line) -> [Send], as they arrived"""
    found = collections.defaultdict(list)

    with open(log, errors='replace') as f:
        for text in f:
            m = WORD.match(text)

            if m:
                found[m[2], int(m[3])].append(
                    Send(int(m[1]) / 1000, int(m[5]), int(m[4])))

    return found


class Durable(threading.Thread):
    """
    Walks the segments of running batches all the time.  records: (batch,
    line) -> time.time() when a record of it was first seen.
    """

    def __init__(self, cluster):
        super().__init__(name='durable', daemon=True)
        self.root = os.path.join(cluster.path('store'), 'batches')
        self.cluster = cluster
        self.records = {}
        self.offsets = {}
        self.lock = threading.Lock()
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.3):
            self.look()
            self.cluster.workers()        # notes those that have ended

    def look(self):
        with self.lock:
            for shard in listdir(self.root):
                for batch in listdir(os.path.join(self.root, shard)):
                    where = os.path.join(self.root, shard, batch)

                    for name in listdir(where):
                        if name.endswith('.seg'):
                            self.walk(batch, os.path.join(where, name))

    def walk(self, batch, path):
        at = self.offsets.get(path, 0)

        try:
            with open(path, 'rb') as f:
                size = os.fstat(f.fileno()).st_size

                if size < at + RECORD:
                    return

                with mmap.mmap(f.fileno(), size, prot=mmap.PROT_READ) as m:
                    while size >= at + RECORD and m[at:at + 4] == b'BCR2':
                        length, line = struct.unpack_from('<IQ', m, at + 4)

                        if at + RECORD + length > size:
                            break

                        self.records.setdefault((batch, line), time.time())
                        at += RECORD + length
        except FileNotFoundError:
            return

        self.offsets[path] = at


def listdir(path):
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def percentile(values, share):
    if not values:
        return None

    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)


class Account:
    """
    Lines sent again.  An owner begins with attempt 1, so of several of a line
    all but the first are sent again; later attempts are retries.

        killed      its worker was killed
        upstream    the same worker, and the upstream has died in between
        failed      the first attempt failed, and its worker was leaving: a
                    retry, by another one
        left        its worker went gracefully
        lost        its worker lives: the lease was lost

    None but "failed" may be more than its worker had in flight, or waiting for
    their sync, when that happened: of a killed one that is what was sent and
    had no record yet, otherwise as much as there can be.
    """

    def __init__(self, cluster, history, durable, log):
        self.cluster = cluster
        self.history = history
        self.lines = 0
        self.requests = 0
        self.retries = 0
        self.again = collections.Counter()
        self.by_pid = collections.Counter()   # of killed ones
        self.by_loss = collections.Counter()  # (why, when, pid): of others
        self.open = {}                # killed pid -> lines in flight, or
                                      # without a record
        self.first = {}               # killed pid -> s until a line moved
        self.free = set()             # of these, while nothing hindered that
        self.delays = []              # s, of each line of a killed worker
        self.with_record = 0          # they had a record before
        self.with_record_late = 0
        self.limit = cluster.concurrency + GROUP
        self.records = durable.records
        self.notes = []               # of each line sent again

        found = sends(log)

        for key in durable.records:
            if key not in found:
                history.bad('%s, line %d: has a record, and was never sent'
                            % key)

        for key, seen in found.items():
            self.lines += 1
            self.requests += len(seen)
            self.retries += sum(1 for s in seen if s.attempt > 1)
            starts = [s for s in seen if s.attempt == 1]

            for one, two in zip(starts, starts[1:]):
                self.sent_again(key, one, two, one is seen[0]
                                and self.fails_once(*key))

            if key in durable.records:
                self.had_record(key, durable.records[key], starts)

        self.count_open(found)
        self.find_free()
        self.judge()

        with open(cluster.path('again.log'), 'w') as f:
            f.writelines(sorted(note + '\n' for note in self.notes))

    def count_open(self, found):
        """what killed workers had in flight, or waiting for its sync"""
        killed = self.cluster.killed
        keys = {pid: set() for pid in killed}

        for key, seen in found.items():
            done = self.records.get(key)

            for s in seen:
                end = killed.get(s.pid)

                # a record is seen a while after it was written, never before

                if end is not None and s.time <= end + 0.1 \
                        and (done is None or done >= end - 0.1):
                    keys[s.pid].add(key)

        self.open = {pid: len(k) for pid, k in keys.items() if k}

    def find_free(self):
        for pid, delay in self.first.items():
            at = self.cluster.killed[pid]
            held = self.history.hindered(at, at + delay)

            if not held:
                self.free.add(pid)

            self.notes.append('killed %d: %.3f, first line after %.3f s, %s'
                              % (pid, at, delay, ' '.join(f['name']
                                                          for f in held)))

    def fails_once(self, batch, line):
        spec = self.history.batches.get(batch)
        return spec is not None and spec.kinds[line - 1] in FAIL_ONCE

    def sent_again(self, key, one, two, failed):
        why, when = self.reason(key, one, two, failed)
        record = self.records.get(key)
        self.again[why] += 1
        self.notes.append('%s %d: %.3f by %d, %.3f by %d, record %s, %s since'
                          ' %.3f' % (*key, one.time, one.pid, two.time,
                                     two.pid, record and '%.3f' % record, why,
                                     when))

        if why == 'killed':
            delay = max(0, two.time - when)
            self.by_pid[one.pid] += 1
            self.delays.append(delay)
            self.first[one.pid] = min(delay, self.first.get(one.pid, 1e9))

        elif why != 'failed':
            self.by_loss[why, when, one.pid] += 1

        if why in ('left', 'lost') and not when:
            self.history.bad('a line of %d was sent again by %d after %.3f s'
                             ' (%s)' % (one.pid, two.pid,
                                        two.time - one.time, why))

    def reason(self, key, one, two, failed):
        """why a line was sent again, and when that happened"""
        killed = self.cluster.killed.get(one.pid)
        late = self.history.late(one.time, two.time)

        if one.pid == two.pid:
            for t in self.cluster.mock_deaths:
                if one.time - 0.1 <= t <= two.time + 0.1:
                    return 'upstream', t

            return 'lost', late

        # what had a record when it was killed is not lost by that

        if killed and one.time - 0.1 <= killed <= two.time + 0.1 \
                and self.records.get(key, killed) > killed - 0.1:
            return 'killed', killed

        if failed:
            return 'failed', 0

        if self.cluster.ended.get(one.pid, 1e12) <= two.time + 0.5:
            return 'left', late

        return 'lost', late

    def had_record(self, key, at, starts):
        for s in starts[1:]:
            if s.time <= at + 0.01:
                continue

            if self.history.late(at - 1, s.time):
                self.with_record_late += 1
            else:
                self.with_record += 1
                self.history.bad('%s, line %d: sent again %.3f s after its'
                                 ' record was there' % (*key, s.time - at))

    def judge(self):
        for pid, n in self.by_pid.items():
            if n > min(self.limit, self.open.get(pid, 0)):
                self.history.bad('%d lines of killed worker %d were sent again,'
                                 ' which had %d, and may have %d'
                                 % (n, pid, self.open.get(pid, 0),
                                    self.limit))

        for (why, when, pid), n in self.by_loss.items():
            if n > self.limit:
                self.history.bad('%d lines of %d were sent again (%s), more'
                                 ' than %d' % (n, pid, why, self.limit))

    def total(self):
        """lines sent again, without those that had failed"""
        return sum(self.by_pid.values()) + sum(self.by_loss.values())

    def bound(self):
        return sum(min(self.limit, n) for n in self.open.values()) \
            + self.limit * len(self.by_loss)

    def summary(self):
        return {
            'lines': self.lines, 'requests': self.requests,
            'retries': self.retries, 'sent_again': dict(self.again),
            'sent_again_total': self.total(),
            'sent_again_bound': self.bound(),
            'sent_again_most_per_kill': max(self.by_pid.values(), default=0),
            'sent_again_most_per_loss': max(self.by_loss.values(), default=0),
            'sent_with_record': self.with_record,
            'sent_with_record_lease_lost': self.with_record_late,
            'first_line_after_kill_s': {
                'n': len(self.first),
                'p50': percentile(list(self.first.values()), 0.5),
                'p99': percentile(list(self.first.values()), 0.99)},
            'first_line_unhindered_s': {
                'n': len(self.free),
                'max': max((self.first[p] for p in self.free), default=None)},
            'each_line_after_kill_s': {
                'n': len(self.delays),
                'p50': percentile(self.delays, 0.5),
                'p99': percentile(self.delays, 0.99)}}
