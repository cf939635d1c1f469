# Disk is the truth: with an empty Redis everything comes back.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

# every answer that a client can have about what there is

sub world {
    my $w = { files => api('GET', '/v1/files')->{json},
              batches => api('GET', '/v1/batches?limit=100')->{json} };

    for my $f (@{ $w->{files}{data} }) {
        $w->{$f->{id}} = content($f->{id});
    }

    return $w;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: stop everything, empty Redis, start
--- concurrency
4
--- flow
my $done = run_batch(jsonl(5, mock => sub { $_[0] == 2 ? 'status=400' : '' }),
                     metadata => { a => 'b' });
my $bad = run_batch("{}\n");
is($done->{status}, 'completed', 'one is completed');
is($bad->{status}, 'failed', 'one has failed');

my $f = upload(jsonl(10, mock => sub { $_[0] > 2 ? 'status=429;retry_after=30'
                                                 : '' }));
my $cancelled = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { mock_stats()->{answered} >= 9 }, 10), 'one runs');
cancel_batch($cancelled->{id});
$cancelled = wait_batch($cancelled->{id});
is($cancelled->{status}, 'cancelled', 'and is cancelled');

my $alone = upload(jsonl(1), filename => "\xe4\xbd\xa0.jsonl",
                   fields => ['expires_after[anchor]' => 'created_at',
                              'expires_after[seconds]' => 7200])->{json};
my $gone = upload(jsonl(1))->{json};
is(http('DELETE', "/v1/files/$gone->{id}")->{status}, 200, 'a file deleted');
is(http('DELETE', "/v1/files/$cancelled->{error_file_id}")->{status}, 200,
   'a result deleted');

my $before = main::world();
ok(nginx_stop('QUIT'), 'nginx stops');
redis('FLUSHALL');
ok(nginx_start(), 'nginx starts');

# never a wrong 404 while it is rebuilt

my %seen;
ok(wait_until(sub {
    my $r = api('GET', "/v1/files/$alone->{id}");
    $seen{$r->{status}}++;
    $r->{status} == 200 }, 10), 'rebuilt');
is(join(' ', grep { !/^(200|503)$/ } keys %seen), '', 'only 503 meanwhile');

my $after = main::world();
is_deeply($after, $before, 'everything is back');
is_deeply(get_batch($_->{id}), $_, "$_->{status} batch")
    for $done, $bad, $cancelled;
is(http('GET', "/v1/files/$gone->{id}")->{status}, 404, 'but what was deleted');
is(http('GET', "/v1/files/$cancelled->{error_file_id}")->{status}, 404,
   'or was a result');
is(mock_stats()->{requests}, mock_stats()->{answered}, 'nothing ran again');


=== TEST 2: a batch in progress
--- concurrency
4
--- flow
my $f = upload(jsonl(300, mock => 'slow=20'));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { get_batch($b->{id})->{request_counts}{completed} > 40 },
              15), 'it runs');
ok(nginx_stop('QUIT'), 'nginx stops');
redis('FLUSHALL');
ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'rebuilt');

my $now = get_batch($b->{id});
is($now->{in_progress_at} // 0, get_batch($b->{id})->{in_progress_at},
   'in progress');
$b = wait_batch($b->{id}, timeout => 40);
is($b->{status}, 'completed', 'completed');
is_deeply([map { $_->{custom_id} } output_lines($b)],
          [map { "req-$_" } 1 .. 300], 'each line once, in order');
is(mock_stats()->{requests}, 300, 'none was sent twice');


=== TEST 3: a batch that nobody has looked at
--- flow
my $f = upload(jsonl(20));
is($f->{status}, 200, 'uploaded');
my $b = create_batch($f->{json}{id})->{json};
nginx_stop('KILL');
redis('FLUSHALL');
ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'rebuilt');
$b = wait_batch($b->{id}, timeout => 40);
is($b->{status}, 'completed', 'completed');
is($b->{request_counts}{completed}, 20, 'all lines');
--- no_error_log
[alert]
[crit]
[emerg]
runtime error:


=== TEST 4: a batch being cancelled
--- concurrency
10
--- flow
my $f = upload(jsonl(10, mock => sub { $_[0] <= 2 ? '' : 'hang' }));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { get_batch($b->{id})->{request_counts}{completed} == 2
                    && mock_stats()->{inflight} == 8 }, 20), 'it hangs');
cancel_batch($b->{id});
my $cancelling = get_batch($b->{id});
is($cancelling->{status}, 'cancelling', 'cancelling');
nginx_stop('KILL');
redis('FLUSHALL');
ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'rebuilt');
$b = wait_batch($b->{id}, timeout => 40);
is($b->{status}, 'cancelled', 'cancelled');
is($b->{cancelling_at}, $cancelling->{cancelling_at}, 'cancelling_at is kept');
is_deeply($b->{request_counts}, { total => 10, completed => 2, failed => 0 },
          'counts');
is(scalar error_lines($b), 8, 'the rest');
--- no_error_log
[alert]
[crit]
[emerg]
runtime error:


=== TEST 5: many objects
--- flow
my @ids = map { upload(jsonl(1, prefix => "f$_-"))->{json}{id} } 1 .. 150;
redis('FLUSHALL');
ok(wait_until(sub {
    my $l = api('GET', '/v1/files')->{json};
    @{ $l->{data} // [] } == 150 }, 15), 'all are back');
my $l = api('GET', '/v1/files')->{json};
is_deeply([map { $_->{id} } @{ $l->{data} }], [reverse @ids], 'in order');
