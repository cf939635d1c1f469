# Copyright (C) the ngx_http_batch_module authors
#
# The sum of a series of runs, as one line.

import collections

from upstream import percentile

NAMES = ('lines', 'batches', 'missing', 'doubled', 'sent_again_total',
         'sent_again_bound', 'sent_with_record')


class Series:
    def __init__(self):
        self.runs = 0
        self.bad = 0
        self.total = collections.Counter()
        self.most = 0
        self.seconds = 0
        self.first = []           # s until a line of a killed worker moved
        self.first_alone = []     # of one that had no sibling left
        self.free = []            # while no other fault hindered that

    def add(self, summary, account, orphans):
        """account: None if the run did not come so far"""
        self.runs += 1
        self.bad += len(summary['violations'])
        self.seconds += summary['seconds']
        self.total.update(summary['counts'])

        for name in NAMES:
            self.total[name] += summary.get(name, 0)

        self.most = max(self.most, summary.get('sent_again_most_per_kill', 0))

        for pid, delay in (account.first if account else {}).items():
            (self.first_alone if pid in orphans
             else self.first).append(delay)

            if pid in account.free:
                self.free.append(delay)

    def line(self):
        t = self.total
        kills = {k.removeprefix('killed '): n for k, n in sorted(t.items())
                 if k.startswith('killed ')}

        return ('total: %d runs, %d s, %d kills (%s), %d losses and %d rewinds'
                ' of Redis, %d reloads; %d batches, %d lines: %d missing, %d'
                ' doubled, %d sent again (bound %d, at most %d for one kill,'
                ' %d with a record); another worker goes on after p50 %s s,'
                ' p99 %s s (without a sibling %s, %s; where no other fault was'
                ' in the way %s, %s, at most %s); %d violations'
                % (self.runs, self.seconds, sum(kills.values()),
                   ', '.join('%s %d' % pair for pair in kills.items())
                   or 'none',
                   t['losses'], t['rewinds'], t['reloads'], t['batches'],
                   t['lines'], t['missing'], t['doubled'],
                   t['sent_again_total'], t['sent_again_bound'], self.most,
                   t['sent_with_record'],
                   percentile(self.first, 0.5), percentile(self.first, 0.99),
                   percentile(self.first_alone, 0.5),
                   percentile(self.first_alone, 0.99),
                   percentile(self.free, 0.5), percentile(self.free, 0.99),
                   percentile(self.free, 1), self.bad))
