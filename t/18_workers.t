# Two workers, one limit.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

no_long_string();
run_tests();

__DATA__

=== TEST 1: both work, and keep the limit of the node
--- concurrency
20
--- flow
my $n = 5000;
my $b = run_batch(jsonl($n, mock => sub { 'slow=' . (2 + int rand 6) }),
                  timeout => 60);
is($b->{status}, 'completed', 'completed');
is($b->{request_counts}{completed}, $n, 'all lines');

my @ids = map { $_->{custom_id} } output_lines($b);
is_deeply(\@ids, [map { "req-$_" } 1 .. $n], 'each once, in order');

my $s = mock_stats();
is($s->{requests}, $n, 'none was sent twice');
cmp_ok($s->{max_inflight}, '<=', 20, 'the limit holds');
cmp_ok($s->{max_inflight}, '>', 10, 'and is made use of');

my $status = api('GET', '/batch-status')->{json};
my @p = @{ $status->{processes} };
is(scalar @p, 2, 'two processes');
cmp_ok($_->{attempts}, '>', $n / 10, "attempts of $_->{pid}") for @p;
is($p[0]{attempts} + $p[1]{attempts}, $n, 'together all');
is($_->{inflight}, 0, "nothing in flight in $_->{pid}") for @p;
is($_->{chunks}, 0, "no chunk held by $_->{pid}") for @p;


=== TEST 2: two batches share
--- concurrency
8
--- flow
my $big = upload(jsonl(1200, mock => 'slow=10'));
my $small = upload(jsonl(40, mock => 'slow=10'));
my $one = create_batch($big->{json}{id})->{json};
ok(wait_until(sub { mock_stats()->{answered} > 50 }, 15), 'one runs');
my $two = create_batch($small->{json}{id})->{json};

$two = wait_batch($two->{id});
is($two->{status}, 'completed', 'the small one is done');
my $now = get_batch($one->{id});
cmp_ok($now->{request_counts}{completed}, '<', 1200,
       'before the big one, which came first');
$one = wait_batch($one->{id}, timeout => 60);
is($one->{request_counts}{completed}, 1200, 'and that one, too');
cmp_ok(mock_stats()->{max_inflight}, '<=', 8, 'the limit holds');


=== TEST 3: many batches at once
--- concurrency
32
--- flow
my @ids;

for my $i (1 .. 30) {
    my $f = upload(jsonl(10, prefix => "b$i-", mock => 'slow=5'));
    push @ids, create_batch($f->{json}{id})->{json}{id};
}

for my $i (1 .. 30) {
    my $b = wait_batch($ids[$i - 1], timeout => 40);
    is_deeply([$b->{status}, map { $_->{custom_id} } output_lines($b)],
              ['completed', map { "b$i-$_" } 1 .. 10], "batch $i");
}


=== TEST 4: one line at a time
--- concurrency
1
--- flow
my $b = run_batch(jsonl(50, mock => 'slow=2'), timeout => 40);
is($b->{request_counts}{completed}, 50, 'completed');
is(mock_stats()->{max_inflight}, 1, 'the limit holds');


=== TEST 5: clients are served meanwhile
--- concurrency
64
--- flow
my $f = upload(jsonl(3000, mock => 'slow=20'));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { mock_stats()->{inflight} > 30 }, 15), 'it runs');
my $good = 0;

for (1 .. 20) {
    my $r = http('POST', '/v1/chat/completions',
                 body => '{"model":"m","messages":[]}');
    $good++ if $r->{status} == 200;
}

is($good, 20, 'interactive requests are answered');
cancel_batch($b->{id});
wait_batch($b->{id});
