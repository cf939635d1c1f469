# How long a line waits for its next attempt: doubling, jitter, cap, Retry-After.
# The timers' clock is moved, nobody waits.  Each pause is looked at twice: what
# the debug log says of it, which is exact, and what the upstream has seen, which
# can only be later.
#
# What the module promises is in these four lines.

use strict;
use warnings;

our $First = 500;                # ms, doubled with each attempt
our $Cap = 30000;                # ms
our $Jitter = 1/2;               # of it may be missing, by chance
our $Later = 1/10;               # may come on top of Retry-After, by chance

use lib 't/lib';
use BatchTest;
use BatchClock;
use List::Util qw(max min);
use Test::Nginx::Socket 'no_plan';

# what a line's pauses were set to, by the debug log: ms, in order

sub planned {
    my ($line) = @_;

    return error_log_text()
           =~ /line $line: attempt \d+ failed, next in (\d+) ms/g;
}

# when its attempts came, by the mock's log: real ms since the epoch

sub arrived {
    my ($line) = @_;

    return map { $_->{time} } grep { $_->{line} eq $line }
           @{ mock_get('/mock/log')->{data} };
}

# its n-th pause, once it is planned

sub pause {
    my ($line, $n) = @_;
    my @ms;

    wait_until(sub { @ms = planned($line); @ms >= $n }, 60);

    return $ms[$n - 1] // -1;
}

# Lets it pass in two steps, so that an attempt that comes too early is seen to:
# 1 if the next one has come in the end.  Real time can only make it later; a
# pause that is really much longer than planned does not end in the minute that
# is waited.

sub let_pass {
    my ($line, $n, $ms) = @_;

    timers_pass(int($ms * 0.9));
    Time::HiRes::sleep(0.2);
    timers_pass(int($ms * 0.1) + 1);

    return wait_until(sub { arrived($line) > $n }, 60);
}

# the n-th pause of a line without Retry-After, by the rule

sub longest {
    my ($n) = @_;
    my $ms = $First * 2 ** ($n - 1);

    return $ms < $Cap ? $ms : $Cap;
}

# 10 ms: nginx's time is as old as its turn of the event loop

sub check_pauses {
    my ($line, $count) = @_;
    my @ms = planned($line);
    my @at = arrived($line);

    Test::More::is(scalar @ms, $count, "line $line: pauses");
    Test::More::is(scalar @at, $count + 1, "line $line: attempts");

    for my $n (1 .. $count) {
        Test::More::cmp_ok(timers_between(@at[$n - 1, $n]), '>=',
                           $ms[$n - 1] - 10,
                           "line $line: pause $n is as long as planned");
    }
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: doubled from attempt to attempt, up to the cap
--- log_level: debug
--- api_config
    batch_retries 20;
    batch_timeout 1h;
--- flow
# without the cap the tenth would be 128 s and more

my $pauses = 10;
my $b = create_batch(upload(jsonl(1, mock => "status=500;times=$pauses"))
                     ->{json}{id})->{json};

for my $n (1 .. $pauses) {
    my $ms = main::pause(1, $n);
    my $most = main::longest($n);

    cmp_ok($ms, '>=', $most * (1 - $main::Jitter), "pause $n: not less");
    cmp_ok($ms, '<=', $most, "pause $n: not more");
    ok(main::let_pass(1, $n, $ms), "then comes attempt " . ($n + 1));
}

is(wait_batch($b->{id})->{request_counts}{completed}, 1, 'the line succeeds');
main::check_pauses(1, $pauses);


=== TEST 2: by chance shorter, so that lines do not come all at once
--- log_level: debug
--- concurrency
64
--- flow
my $n = 64;
my $b = run_batch(jsonl($n, mock => 'status=500;times=1'));
is($b->{request_counts}{completed}, $n, 'all succeed');

my (%seen, @ms);

for my $line (1 .. $n) {
    my ($ms) = main::planned($line);
    push @ms, $ms // -1;
    $seen{$ms // -1}++;
    main::check_pauses($line, 1);
}

my $least = $main::First * (1 - $main::Jitter);
my ($short, $long) = (min(@ms), max(@ms));

cmp_ok($short, '>=', $least, 'the shortest');
cmp_ok($long, '<=', $main::First, 'the longest');

# one of 64 is in each fifth of the range, but for 1 in 1,500,000

cmp_ok($short, '<', $least + ($main::First - $least) / 5, 'some are short');
cmp_ok($long, '>', $main::First - ($main::First - $least) / 5,
       'some are long');
cmp_ok(scalar keys %seen, '>', $n / 2, 'most differ');


=== TEST 3: Retry-After is waited for, also beyond the cap
--- log_level: debug
--- api_config
    batch_timeout 1h;
--- flow
my $b = create_batch(upload(jsonl(1, mock =>
                     'status=429;retry_after=100;times=2'))->{json}{id})
        ->{json};

for my $n (1, 2) {
    my $ms = main::pause(1, $n);

    cmp_ok($ms, '>=', 100_000, "pause $n: not less");
    cmp_ok($ms, '<=', 100_000 * (1 + $main::Later), "pause $n: little more");
    ok(main::let_pass(1, $n, $ms), 'then comes attempt ' . ($n + 1));
}

is(wait_batch($b->{id})->{request_counts}{completed}, 1, 'the line succeeds');
main::check_pauses(1, 2);


=== TEST 4: lines that are told the same time do not come all at once
--- log_level: debug
--- concurrency
12
--- api_config
    batch_timeout 1h;
--- flow
my $n = 12;
my $b = create_batch(upload(jsonl($n, mock =>
                     'status=429;retry_after=100;times=1'))->{json}{id})
        ->{json};
my %seen = map { main::pause($_, 1) => 1 } 1 .. $n;

cmp_ok(min(keys %seen), '>=', 100_000, 'the shortest');
cmp_ok(scalar keys %seen, '>', $n / 2, 'most differ');
timers_pass(110_000);
is(wait_batch($b->{id})->{request_counts}{completed}, $n, 'all succeed');


=== TEST 5: a short Retry-After does not shorten a pause
--- log_level: debug
--- api_config
    batch_retries 20;
    batch_timeout 1h;
--- flow
my $b = create_batch(upload(jsonl(1, mock =>
                     'status=503;retry_after=1;times=6'))->{json}{id})
        ->{json};

for my $n (1 .. 6) {
    my $ms = main::pause(1, $n);
    my $least = main::longest($n) * (1 - $main::Jitter);

    $least = 1000 if $least < 1000;
    cmp_ok($ms, '>=', $least, "pause $n: not less");
    ok(main::let_pass(1, $n, $ms), 'then comes attempt ' . ($n + 1));
}

is(wait_batch($b->{id})->{request_counts}{completed}, 1, 'the line succeeds');
main::check_pauses(1, 6);


=== TEST 6: Retry-After as a date
--- log_level: debug
--- api_config
    batch_timeout 1h;
--- flow
my $at = time() + 200;
my $when = POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime($at));
my $b = create_batch(upload(jsonl(1, mock =>
                     "status=503;retry_after=$when;times=1"))->{json}{id})
        ->{json};
my $ms = main::pause(1, 1);
my ($first) = main::arrived(1);

cmp_ok($first + $ms, '>=', $at * 1000 - 10, 'not before it');
cmp_ok($ms, '<=', 200_000 * (1 + $main::Later), 'little later');
ok(main::let_pass(1, 1, $ms), 'then comes attempt 2');
is(wait_batch($b->{id})->{request_counts}{completed}, 1, 'the line succeeds');
main::check_pauses(1, 1);


=== TEST 7: a Retry-After beyond the line's time is not waited for
--- api_config
    batch_timeout 60s;
--- flow
my $b = run_batch(jsonl(1, mock => 'status=429;retry_after=61'));
is($b->{request_counts}{failed}, 1, 'fails');
is((error_lines($b))[0]{response}{status_code}, 429, 'with its answer');
is(mock_stats()->{requests}, 1, 'after one attempt');
