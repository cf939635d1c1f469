# The completion window ends before the batch does.  Windows are minutes at
# least, so the index is told that the time has come.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

sub expire {
    my ($id) = @_;
    my ($key) = @{ redis('KEYS', "*:b:$id") };
    redis('HSET', $key, 'expires_at', int(time()) - 1);
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: while it runs
--- concurrency
36
--- flow
# more than the 34 that hang, or these could leave no place for the others

my $f = upload(jsonl(40, mock => sub {
    $_[0] == 2 ? 'status=400' : $_[0] <= 6 ? '' : 'hang' }));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { my $c = get_batch($b->{id})->{request_counts};
                    $c->{completed} == 5 && $c->{failed} == 1 }, 15),
   'six lines are done');

my $before = get_batch($b->{id});
main::expire($b->{id});

my $now = wait_batch($b->{id}, until => qr/^(finalizing|expired)$/);
is($now->{status}, 'finalizing', '#84 finalizing first');
$b = wait_batch($b->{id});
is($b->{status}, 'expired', 'then expired');
ok($b->{expired_at}, 'expired_at');
ok($b->{finalizing_at}, 'finalizing_at');
is($b->{$_}, undef, $_)
    for qw(completed_at failed_at cancelling_at cancelled_at errors);
is_deeply($b->{request_counts}, { total => 40, completed => 5, failed => 1 },
          'counts');
is(scalar output_lines($b), 5, 'what was done is kept');

my @bad = error_lines($b);
my @rest = grep { ($_->{error}{code} // '') eq 'batch_expired' } @bad;
is(scalar @bad, 35, 'every other line');
is(scalar @rest, 34, 'one failed by itself');
is_deeply($rest[0], { id => $rest[0]{id}, custom_id => $rest[0]{custom_id},
                      response => undef,
                      error => { code => 'batch_expired', message =>
                          'This request could not be executed before the'
                          . ' completion window expired.' } }, 'a line');
like($rest[0]{id}, qr/^batch_req_/, 'its id');
is(scalar keys %{ by_id(output_lines($b), @bad) }, 40, 'each once');
ok(wait_until(sub { mock_stats()->{inflight} == 0 }), 'requests are cut');

is(cancel_batch($b->{id})->{status}, 409, 'too late to cancel');


=== TEST 2: the time comes when all is done
--- flow
my $b = run_batch(jsonl(3));
my $before = get_batch($b->{id});
main::expire($b->{id});
sleep 1;
is_deeply(get_batch($b->{id}), $before, 'nothing changes');


=== TEST 3: no time limit
--- flow
my $b = run_batch(jsonl(3), completion_window => 'unlimited');
is($b->{status}, 'completed', 'completed');
is($b->{expires_at}, undef, 'expires_at');


=== TEST 4: one minute
--- api_config
    batch_windows 1m 24h;
--- flow
my $b = run_batch(jsonl(3), completion_window => '1m');
is($b->{expires_at} - $b->{created_at}, 60, 'expires_at');
