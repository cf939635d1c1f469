# Several nginx with one store and one Redis: they share the work, and one of
# them goes away.

use lib 't/lib';
use BatchTest;
use BatchNode;
use Test::Nginx::Socket 'no_plan';

sub each_once {
    my ($b, $n) = @_;

    Test::More::is($b->{status}, 'completed', 'completed');
    Test::More::is_deeply($b->{request_counts},
        { total => $n, completed => $n, failed => 0 }, 'counts');
    Test::More::is_deeply([map { $_->{custom_id} } output_lines($b)],
                          [map { "req-$_" } 1 .. $n],
                          'each line once, in order');
}

sub quiet {
    my ($node) = @_;
    my @bad = grep { /\[(alert|emerg)\]|exited on signal/ }
              split /\n/, $node->log;

    Test::More::is(join("\n", @bad), '', "nothing is wrong in $node->{name}");
}

# chunks of a batch as the index knows them: [epoch, state] each

sub chunks {
    my ($b) = @_;
    my %c = @{ redis('HGETALL', "{batch}:c:$b->{id}") };

    return map { [(split /:/)[0, 5]] } values %c;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: two nodes share a batch; one is reloaded, one ends
--- concurrency
16
--- flow
my $two = BatchNode->start('two');
my $three = BatchNode->start('three');
my $f = upload(jsonl(1200, mock => 'slow=20'))->{json};
is_deeply($two->api('GET', "/v1/files/$f->{id}")->{json}, $f,
          'a file is known to the other one');
my $b = $two->api('POST', '/v1/batches', {
    input_file_id => $f->{id}, endpoint => '/v1/chat/completions',
    completion_window => '24h' })->{json};
like($b->{id}, qr/^batch_/, 'a batch of it');

my $done = sub { (shift // {})->{completed} // 0 };
my $now = sub { get_batch($b->{id})->{request_counts}{completed} // 0 };
ok(wait_until(sub { $now->() > 100 }, 20), 'it runs');
$two->signal('HUP');
ok($three->stop('QUIT'), 'one ends in an orderly way');

# of workers that are gone the status says nothing any more

cmp_ok($done->(api('GET', '/batch-status')->{json}), '>', 0, 'the first works');
ok(wait_until(sub { $done->($two->status) > 0 }, 20), 'the second, too');

$b = wait_batch($b->{id}, timeout => 60);
main::each_once($b, 1200);
is(mock_stats()->{requests}, 1200, 'no line was sent twice');
is_deeply($two->api('GET', "/v1/batches/$b->{id}")->{json}, $b,
          'both say the same');
is($two->api('GET', "/v1/files/$b->{output_file_id}/content")->{body},
   content($b->{output_file_id}), 'and have the same output');
main::quiet($_) for $two, $three;
ok($two->stop('QUIT'), 'ends');


=== TEST 2: one node dies, another one loses Redis for longer than a lease
--- concurrency
4
--- flow
my $two = BatchNode->start('two');
my $three = BatchNode->start('three');
my $f = upload(jsonl(1000, mock => 'slow=120'))->{json};
my $b = create_batch($f->{id})->{json};

for my $n ($two, $three) {
    ok(wait_until(sub { ($n->status->{completed} // 0) > 4 }, 30),
       "$n->{name} works");
}

ok($three->stop('KILL'), 'one is gone');
$two->cut;

# its lines go on without Redis, to its own segments

my $before = $two->status->{attempts};
ok(wait_until(sub { $two->status->{redis} eq 'down' }, 10), 'one is cut off');
is($two->api('GET', "/v1/batches/$b->{id}")->{status}, 503, 'and says so');

# leases end, and others take over

ok(wait_until(sub { grep { $_->[0] > 1 } main::chunks($b) }, 40),
   'chunks are taken over');
cmp_ok($two->status->{attempts}, '>=', $before, 'the other one went on');
$two->mend;
ok(wait_until(sub { $two->ready }, 30), 'it is back');

$b = wait_batch($b->{id}, timeout => 90);
main::each_once($b, 1000);
cmp_ok(mock_stats()->{requests}, '>=', 1000, 'every line was sent');
my $text = content($b->{output_file_id});

ok(wait_until(sub { $two->status->{chunks} == 0 }, 30),
   'it has given up what others have done');
is_deeply(get_batch($b->{id}), $b, 'the batch is as it was');
is(content($b->{output_file_id}), $text, 'and so is its output');
main::quiet($two);
ok($two->stop('QUIT'), 'ends');
