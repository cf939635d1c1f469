# Copyright (C) the ngx_http_batch_module authors
#
# The lines of a batch, the answers that they must get, and whether they did.
# Every question is unique, and the mock repeats it: an answer that belongs to
# another line, another batch or another run is found by its text.

import collections
import json

# kind -> (weight, script for the mock, ends in the error file)

KINDS = {
    'plain': (50, '', False),
    'slow': (30, 'slow=%(slow)d', False),
    'refused': (6, 'status=400', True),
    'busy': (6, 'status=500;times=1', False),
    'limited': (2, 'status=429;retry_after=1;times=1', False),
    'closed': (2, 'close;times=1', False),
    'cut': (2, 'cut;times=1', False),
    'hang': (0.2, 'hang;times=1', False),
    'chunked': (2, 'chunked', False),
    'large': (0.3, 'size=400000', False),
}


# the mock fails the first attempt at such a body

FAIL_ONCE = {kind for kind, row in KINDS.items() if 'times=1' in row[1]}


class Spec:
    """a batch as it was asked for: its input, and what is known of it"""

    def __init__(self, tag, count, rng, slow):
        self.tag = tag
        self.count = count
        self.key = rng.random() < 0.5     # with Idempotency-Key
        self.file_id = None
        self.batch_id = None
        self.cancelled = False            # acknowledged
        self.cancelling = False           # asked for, perhaps in vain
        self.input_deleted = False

        names = list(KINDS)
        self.kinds = rng.choices(names, [KINDS[n][0] for n in names], k=count)
        self.scripts = [KINDS[k][1] % {'slow': rng.randint(1, slow)}
                        if k == 'slow' else KINDS[k][1] for k in self.kinds]

    def prompt(self, i):
        return 'question %d of %s' % (i, self.tag)

    def custom_id(self, i):
        return '%s-%d' % (self.tag, i)

    def input(self):
        out = []

        for i in range(self.count):
            body = {'model': 'm', 'messages': [
                {'role': 'user', 'content': self.prompt(i)}]}

            if self.scripts[i]:
                body['mock'] = self.scripts[i]

            out.append(json.dumps({
                'custom_id': self.custom_id(i), 'method': 'POST',
                'url': '/v1/chat/completions', 'body': body}) + '\n')

        return ''.join(out).encode()


def verify(spec, batch, output, error, tally):
    """
    The files (bytes or None) of a batch that has ended against its spec: a
    list of what is wrong, the first few.  tally: a Counter of lines that are
    missing and doubled.
    """
    wrong = []
    seen = collections.Counter()
    tokens = 0
    counts = batch['request_counts']
    completed = verify_file(spec, output, False, seen, wrong)
    failed = verify_file(spec, error, True, seen, wrong)
    not_run = sum(1 for line in failed if unexecuted(line))

    tally['doubled'] += sum(n - 1 for n in seen.values())
    missing = [i for i in range(spec.count) if i not in seen]

    if missing:
        tally['missing'] += len(missing)
        wrong.append('%d lines missing, the first is %d'
                     % (len(missing), missing[0]))

    if not_run and batch['status'] not in ('cancelled', 'expired'):
        wrong.append('%d lines not executed' % not_run)

    for line in completed:
        tokens += line['response']['body']['usage']['total_tokens']

    if batch['usage']['total_tokens'] != tokens:
        wrong.append('usage says %d tokens, the lines %d'
                     % (batch['usage']['total_tokens'], tokens))

    if (counts['total'], counts['completed'], counts['failed']) \
            != (spec.count, len(completed), len(failed) - not_run):
        wrong.append('counts %s, but %d, %d and %d not executed'
                     % (counts, len(completed), len(failed) - not_run,
                        not_run))

    return wrong[:5]


def unexecuted(line):
    return (line['response'] is None
            and line['error']['code'] in ('batch_cancelled', 'batch_expired'))


def verify_file(spec, data, is_error, seen, wrong):
    """the lines that are good; counts those seen, adds to wrong"""
    good = []
    last = -1
    prefix = spec.tag + '-'

    if not data:
        return good

    if not data.endswith(b'\n'):
        wrong.append('the last line has no end')

    for n, text in enumerate(data[:-1].split(b'\n')):
        try:
            line = json.loads(text)
            i = int(line['custom_id'].removeprefix(prefix))
            name = line['custom_id'] == spec.custom_id(i)
        except (ValueError, KeyError, TypeError, AttributeError):
            wrong.append('line %d is foreign: %r' % (n, text[:120]))
            continue

        if not name or not 0 <= i < spec.count \
                or set(line) != {'id', 'custom_id', 'response', 'error'}:
            wrong.append('line %d is foreign: %r' % (n, text[:120]))
            continue

        if i in seen:
            wrong.append('request %d occurs twice' % i)

        if i <= last:
            wrong.append('request %d stands behind %d' % (i, last))

        seen[i] += 1
        last = i
        why = verify_line(spec, i, line, is_error)

        if why:
            wrong.append('request %d (%s): %s: %r'
                         % (i, spec.kinds[i], why, text[:300]))
        else:
            good.append(line)

    return good


def verify_line(spec, i, line, is_error):
    if is_error and unexecuted(line):
        return None

    if line['error'] is not None or line['response'] is None:
        return 'no answer'

    if KINDS[spec.kinds[i]][2] != is_error:
        return 'in the wrong file'

    status = line['response']['status_code']
    body = line['response']['body']

    if is_error:
        return None if status == 400 and body['error']['message'] \
            == 'mock answers 400' else 'another error'

    text = body['choices'][0]['message']['content']
    expected = 'You said: ' + spec.prompt(i)

    if spec.kinds[i] == 'large':
        rest = text.removeprefix(expected)
        fits = (text.startswith(expected)
                and not rest.replace('lorem i ', '').strip('lorem i'))
    else:
        fits = text == expected

    return None if status == 200 and fits else 'the answer to something else'
