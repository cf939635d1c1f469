# Redis goes away, stands still, or forgets everything.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

# a batch of lines slow enough to be caught in the middle

sub start {
    my ($n, $ms) = @_;
    my $f = upload(jsonl($n, mock => "slow=$ms"));
    my $b = create_batch($f->{json}{id})->{json};

    Test::More::ok(wait_until(sub {
        my $c = get_batch($b->{id})->{request_counts};
        ($c->{completed} // 0) > $n / 20
    }, 15), 'it runs');

    return $b;
}

sub check {
    my ($b, $n) = @_;

    Test::More::is($b->{status}, 'completed', 'completed');
    Test::More::is_deeply($b->{request_counts},
        { total => $n, completed => $n, failed => 0 }, 'counts');

    my @ids = map { $_->{custom_id} } output_lines($b);
    Test::More::is_deeply(\@ids, [map { "req-$_" } 1 .. $n],
                          'each line once, in order');
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: killed, and started again with its file
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $b = main::start(600, 30);

my $before = mock_stats()->{answered};
redis_stop('KILL');
my $r = wait_until(sub { my $x = api('GET', "/v1/batches/$b->{id}");
                         $x->{status} == 503 && $x }, 10);
ok($r, '503 without Redis');
cmp_ok($r->{headers}{'retry-after'} // 0, '>', 0, 'Retry-After');
like($r->{headers}{'content-type'} // '', qr{^application/json}, 'JSON');
is($r->{json}{error}{type}, 'server_error', 'type');

for my $x (['GET', '/v1/files'], ['GET', '/v1/batches'],
           ['GET', "/v1/files/$b->{input_file_id}"],
           ['POST', "/v1/batches/$b->{id}/cancel"],
           ['DELETE', "/v1/files/$b->{input_file_id}"])
{
    is(api(@$x, undef, body => '')->{status}, 503, "@$x");
}

ok(wait_until(sub { mock_stats()->{answered} > $before }, 10),
   'lines went on meanwhile');
is(http('GET', '/up')->{status}, 200, 'nginx serves the rest');

redis_start();
ok(wait_until(sub { api('GET', "/v1/batches/$b->{id}")->{status} == 200 },
              15), 'back');
main::check(wait_batch($b->{id}, timeout => 40), 600);
is(mock_stats()->{requests}, 600, 'no line was sent twice');


=== TEST 2: stands still for longer than a link waits
--- flow
my $b = main::start(600, 100);
my $before = mock_stats()->{answered};
kill 'STOP', $BatchTest::RedisPid;

my $r = wait_until(sub { my $x = api('GET', "/v1/batches/$b->{id}");
                         $x->{status} == 503 && $x }, 30);
ok($r, '503 while it does not answer');
cmp_ok($r->{headers}{'retry-after'} // 0, '>', 0, 'Retry-After');
is($r->{json}{error}{type}, 'server_error', 'type');
ok(wait_until(sub { error_log_text()
                    =~ /redis \S+ is down: a command timed out/ }, 20),
   'the link is broken');
ok(wait_until(sub { mock_stats()->{answered} > $before }, 10),
   'lines went on meanwhile');

kill 'CONT', $BatchTest::RedisPid;
ok(wait_until(sub { api('GET', "/v1/batches/$b->{id}")->{status} == 200 },
              20), 'back');
main::check(wait_batch($b->{id}, timeout => 60), 600);


=== TEST 3: everything forgotten while two chunks are open
--- concurrency
32
--- flow
# Eight lines take long, in the middle and at the end.  When all others are
# counted, these have a durable record, and those are what is in flight.

my $n = 2000;
my $f = upload(jsonl($n, mock => sub {
    $_[0] > 1996 || ($_[0] > 996 && $_[0] <= 1000) ? 'slow=6000' : '' }));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { get_batch($b->{id})->{request_counts}{completed}
                    == $n - 8 }, 40), 'all the others are done');
redis('FLUSHALL');
ok(wait_until(sub { api('GET', "/v1/batches/$b->{id}")->{status} == 200 },
              15), 'known again');
main::check(wait_batch($b->{id}, timeout => 60), $n);

# A worker whose lease is lost has those sent again that are in flight.

cmp_ok(mock_stats()->{requests}, '<=', $n + 8,
       'what was durable was not sent again');


=== TEST 4: everything forgotten when all is done
--- flow
my $b = main::start(100, 5);
$b = wait_batch($b->{id});
my $text = content($b->{output_file_id});
redis('FLUSHALL');

my $seen = {};
ok(wait_until(sub { my $r = api('GET', "/v1/batches/$b->{id}");
                    $seen->{$r->{status}}++;
                    $r->{status} == 200 }, 15), 'known again');
ok(!$seen->{404}, 'never a wrong 404');
is_deeply(get_batch($b->{id}), $b, 'the same object');
is(content($b->{output_file_id}), $text, 'the same output');


=== TEST 5: not there when nginx starts
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
ok(nginx_stop('QUIT'), 'nginx quits');
redis_stop();
ok(nginx_start(), 'nginx starts without Redis');
is(api('GET', '/v1/files')->{status}, 503, 'and says so');
redis_start();
ok(wait_ready(), 'Redis is found');
is(run_batch(jsonl(3))->{status}, 'completed', 'a batch runs');


=== TEST 6: a status that goes back is an alert in a debug build
--- log_level: debug
--- no_error_log
[emerg]
exited on signal
runtime error:
--- flow
my $b = run_batch(jsonl(3));
my $key = '{batch}:b:' . $b->{id};
my $debug = error_log_text() =~ /\[debug\]/;
get_batch($b->{id}) for 1 .. 20;
unlike(error_log_text(), qr/\[alert\]/, 'nothing to say of a good one');

redis('HSET', $key, 'status', 'in_progress');
get_batch($b->{id}) for 1 .. 20;
redis('HSET', $key, 'status', 'completed');

# clients saw it finalizing: finalizing_at is there

my $said = "batch: $b->{id}: status went from completed to finalizing";
$said = qr/\[alert\] .*\Q$said\E/;
$debug ? like(error_log_text(), $said, 'it is seen')
       : unlike(error_log_text(), $said, 'not looked for');

SKIP: {
    skip 'nginx without --with-debug', 5 unless $debug;

    my $log = error_log_text();
    like($log, qr/batch: redis \S+: connecting/, 'debug log: the link');
    like($log, qr/batch: redis server is [0-9a-f]{40}/, 'its server');
    like($log, qr/batch: \Q$b->{id}\E: index call claim sent/, 'a call');
    like($log, qr/batch: \Q$b->{id}\E: index call claim done/, 'its answer');
    like($log, qr/batch: redis: EVALSHA claim sent, \d+ pending/, 'a command');
}
