"""Rounds, medians, ratios, and the table."""

import random
import statistics

median = statistics.median

HEAD = ('| # | what | figure | goal | |', '|---|---|---|---|---|')


def alternate(rounds, contestants):
    """Runs each contestant once a round, in random order, and returns
    {name: [result of each round]}.  Noise that comes and goes with the
    minutes then meets all of them alike."""
    results = {name: [] for name in contestants}

    for _ in range(rounds):
        order = list(contestants)
        random.shuffle(order)

        for name in order:
            results[name].append(contestants[name]())

    return results


def ratio(results, a, b, key):
    """Median over the rounds of a's figure to b's of the same round."""
    return median(x[key] / y[key] for x, y in zip(results[a], results[b])
                  if y[key])


def middle(results, name, key):
    return median(x[key] for x in results[name])


class Table:
    """One entry per figure: row, what, value, unit, goal, whether it is met
    (None: no goal)."""

    def __init__(self):
        self.entries = []

    def add(self, row, what, value, unit='', goal=None, at_least=None,
            at_most=None):
        met = None

        if at_least is not None:
            met = value >= at_least
            goal = goal or f'>= {at_least:g}'
        elif at_most is not None:
            met = value <= at_most
            goal = goal or f'<= {at_most:g}'

        e = {'row': row, 'what': what, 'value': value, 'unit': unit,
             'goal': goal, 'met': met}
        self.entries.append(e)
        print(self.line(e), flush=True)

    @staticmethod
    def figure(v):
        if isinstance(v, int):
            return f'{v:,}'
        if abs(v) >= 1000:
            return f'{v:,.0f}'
        if abs(v) >= 10:
            return f'{v:.1f}'
        return f'{v:.2f}'

    def line(self, e):
        met = {None: '', True: 'met', False: 'NOT MET'}[e['met']]
        return (f'| {e["row"]} | {e["what"]} | {self.figure(e["value"])} '
                f'{e["unit"]} | {e["goal"] or ""} | {met} |')

    def markdown(self):
        return '\n'.join([*HEAD, *map(self.line, self.entries)])
