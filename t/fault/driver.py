# Copyright (C) the ngx_http_batch_module authors
#
# One run: a cluster, its clients, the schedule of faults, the checks.

import collections
import heapq
import os
import random
import shutil
import threading
import time
import traceback

import faults
import final
from cluster import Cluster
from history import History
from load import Customer, Visitor
from upstream import Account, Durable


class Driver:
    def __init__(self, seed, options):
        self.seed = seed
        self.options = dict(options)
        self.dir = os.path.join(options['build'], 'fault',
                                '%d-%d' % (seed, os.getpid()))
        self.ending = threading.Event()
        self.history = History()
        self.cluster = Cluster(self.dir, self.options)
        self.counts = collections.Counter()
        self.actors = []
        self.begun = time.monotonic()
        self.account = None

    def random(self, name):
        """of its own for each thread, so that they do not disturb it"""
        return random.Random('%d %s' % (self.seed, name))

    def run(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.begun = time.monotonic()
        summary = {'seed': self.seed, 'faults': self.options['faults']}

        try:
            for names, setup in faults.SETUPS:
                if set(names) & set(self.options['faults']):
                    setup(self.cluster)

            self.cluster.start()
            self.durable = Durable(self.cluster)
            self.durable.start()
            self.work()
            summary.update(self.check())
        except Exception:
            self.history.bad('the driver: ' + traceback.format_exc())
            self.abandon()

        return self.close(summary)

    # --- faults --------------------------------------------------------------

    def work(self):
        for kind, n in ((Customer, 'customers'), (Visitor, 'visitors')):
            for i in range(self.options[n]):
                self.actors.append(kind(self, i))

        for actor in self.actors:
            actor.start()

        self.schedule()
        self.ending.set()
        end = time.monotonic() + 2 * self.options['patience']

        for actor in self.actors:
            actor.join(max(1, end - time.monotonic()))

            if actor.is_alive():
                self.history.bad('%s does not end' % actor.name)

    def schedule(self):
        """new faults until the time is over; then those under way end"""
        rng = self.random('faults')
        table = [faults.TABLE[name] for name in self.options['faults']]
        end = time.monotonic() + self.options['time']
        queue = []                # (when, number, generator, fault, record)
        groups = set()
        number = 0
        at = time.monotonic() + rng.random() * 2 * self.options['gap']

        while True:
            now = time.monotonic()

            while queue and queue[0][0] <= now:
                _, n, steps, one, record = heapq.heappop(queue)
                pause = next(steps, None)

                if pause is None:
                    record['ended'] = time.time()
                    groups.discard(one.group)
                else:
                    heapq.heappush(queue, (time.monotonic() + pause, n, steps,
                                           one, record))

            if now >= end and not queue:
                return

            if table and at <= now < end:
                at = now + rng.random() * 2 * self.options['gap']
                one = rng.choices(table, [f.weight for f in table])[0]

                if not one.group or one.group not in groups:
                    if one.group:
                        groups.add(one.group)

                    number += 1
                    self.counts[one.name] += 1
                    record = self.history.fault(one.name, time.time(),
                                                one.excuses, one.late,
                                                one.after, one.sleeps,
                                                one.group)
                    heapq.heappush(queue, (now, number,
                                           one.run(self.cluster, rng), one,
                                           record))

            time.sleep(0.005)

    # --- the end -------------------------------------------------------------

    def check(self):
        cluster, history = self.cluster, self.history
        actor = Visitor(self, 1000000)
        final.all_batches_end(self, actor)
        hidden = self.rebuild(actor)
        found = final.promises(self, actor)
        final.quiet(self)
        final.index(self)
        left = final.disk(self)
        final.swept(self)

        for pid in cluster.stop():
            history.bad('process %d was left' % pid)

        self.durable.ended.set()
        self.durable.join()
        final.logs(self)
        failures = history.judge_failures()
        self.account = Account(cluster, history, self.durable,
                               cluster.path('mock.log'))
        found.update(self.account.summary(), left=left, hidden=hidden,
                     requests_of_clients=history.requests,
                     failed_requests={k: {'explained': a, 'not': b}
                                      for k, (a, b) in failures.items()})
        return found

    def rebuild(self, actor):
        """
        What was committed while Redis went away is not in the index until it
        is rebuilt (and its client was told 503): count it, rebuild, wait.
        """
        before = {b['id'] for b in actor.client.listed('batches') or []}
        hidden = [b for b in final.batches_on_disk(self.cluster)
                  if b not in before]

        for one in hidden:
            if one in self.history.batches:
                self.history.bad('%s: acknowledged, and not in the list'
                                 % one)

        record = self.history.fault('rebuild', time.time(), {'status:503'},
                                    group='redis')
        cluster = self.cluster

        def filled():
            return [k for k in cluster.redis('KEYS', '{batch}:*')
                    if k.startswith('{batch}:gen')]

        for key in filled():
            cluster.redis('DEL', key)

        final.wait_until(filled, 30, 'the index')
        record['ended'] = time.time()
        final.all_batches_end(self, actor)

        return len(hidden)

    def abandon(self):
        """after an error of the driver itself: everything is killed"""
        self.ending.set()
        cluster = self.cluster

        for pid in cluster.workers() + cluster.heirs():
            cluster.kill(pid)

        # the death of a master gives us its workers

        final.wait_until(lambda: not [cluster.kill(p)
                                      for p in cluster.heirs()], 20, 'the end')

        # or it took away the children of the next run

        cluster.reaper.ended.set()
        cluster.reaper.join()

    def close(self, summary):
        history = self.history
        summary['injected'] = dict(self.counts)
        summary['kills'] = len(self.cluster.killed)
        summary['counts'] = dict(self.cluster.count)
        summary['missing'] = history.tally['missing']
        summary['doubled'] = history.tally['doubled']
        summary['seconds'] = round(time.monotonic() - self.begun, 1)
        summary['violations'] = list(history.violations)

        if history.more:
            summary['violations'].append('and %d more' % history.more)

        if history.violations:
            summary['directory'] = self.dir
        elif not self.options['keep']:
            shutil.rmtree(self.dir)

        return summary
