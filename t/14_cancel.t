# Cancel: what is done stays, the rest is told.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

our $cancelled = 'This request was not executed because the batch was'
                 . ' cancelled.';

no_long_string();
run_tests();

__DATA__

=== TEST 1: while it runs
--- concurrency
4
--- flow
my $n = 200;
my $f = upload(jsonl($n, mock => sub {
    $_[0] <= 10 ? ($_[0] == 3 ? 'status=400' : '') : 'slow=1500' }));
my $b = create_batch($f->{json}{id})->{json};

ok(wait_until(sub { my $c = get_batch($b->{id})->{request_counts};
                    $c->{completed} >= 9 && $c->{failed} == 1 }, 15),
   'some lines are done');

my $r = cancel_batch($b->{id});
is($r->{status}, 200, 'cancel answers 200');
is($r->{json}{status}, 'cancelling', 'status');
ok($r->{json}{cancelling_at}, 'cancelling_at');

my $again = cancel_batch($b->{id});
is($again->{status}, 200, 'a second one, too');
is($again->{json}{cancelling_at}, $r->{json}{cancelling_at}, 'no other time');

$b = wait_batch($b->{id}, timeout => 30);
is($b->{status}, 'cancelled', 'cancelled');
cmp_ok($b->{cancelled_at}, '>=', $b->{cancelling_at}, 'cancelled_at');
is($b->{$_}, undef, $_)
    for qw(finalizing_at completed_at failed_at expired_at errors);

my @ok = output_lines($b);
my @bad = error_lines($b);
is(@ok + @bad, $n, 'every line in one of the files');
is(scalar keys %{ by_id(@ok, @bad) }, $n, 'once');

my @rest = grep { ($_->{error}{code} // '') eq 'batch_cancelled' } @bad;
is(@bad - @rest, 1, 'the one that failed by itself');
is_deeply($b->{request_counts}, { total => $n, completed => scalar @ok,
                                  failed => 1 }, 'counts');
cmp_ok(scalar @ok, '>=', 9, 'lines that were done are kept');
cmp_ok(scalar @rest, '>', 150, 'most were not');
is_deeply($rest[0], { id => $rest[0]{id}, custom_id => $rest[0]{custom_id},
                      response => undef,
                      error => { code => 'batch_cancelled',
                                 message => $main::cancelled } }, 'a line');
is(mock_stats()->{aborted}, 0, 'what was with the upstream was waited for');

$again = cancel_batch($b->{id});
is($again->{status}, 200, 'cancelling what is cancelled');
is($again->{json}{status}, 'cancelled', 'changes nothing');


=== TEST 2: lines that hang are cut after the grace
--- concurrency
20
--- flow
my $f = upload(jsonl(20, mock => sub { $_[0] <= 2 ? '' : 'hang' }));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { mock_stats()->{inflight} == 18 }, 15), 'they hang');

my $began = time();
cancel_batch($b->{id});
$b = wait_batch($b->{id});
is($b->{status}, 'cancelled', 'cancelled');
cmp_ok(time() - $began, '>=', 4, 'not at once');
is_deeply($b->{request_counts}, { total => 20, completed => 2, failed => 0 },
          'counts');
is(scalar(grep { $_->{error}{code} eq 'batch_cancelled' } error_lines($b)),
   18, 'the rest');
ok(wait_until(sub { mock_stats()->{inflight} == 0 }), 'requests are cut');


=== TEST 3: before anything is done
--- concurrency
2
--- flow
my $f = upload(jsonl(8, mock => 'hang'));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { mock_stats()->{inflight} == 2 }, 15), 'two hang');
cancel_batch($b->{id});
$b = wait_batch($b->{id});
is($b->{status}, 'cancelled', 'cancelled');
is($b->{output_file_id}, undef, 'no output file');
is(scalar error_lines($b), 8, 'all lines in the error file');


=== TEST 4: while lines wait for their next attempt
--- concurrency
2
--- flow
my $f = upload(jsonl(8, mock => 'status=429;retry_after=60'));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { mock_stats()->{answered} >= 2 }, 15), 'two wait');
cancel_batch($b->{id});
$b = wait_batch($b->{id});
is($b->{status}, 'cancelled', 'cancelled');
is(scalar(grep { ($_->{error}{code} // '') eq 'batch_cancelled' }
          error_lines($b)), 8, 'all lines cancelled');


=== TEST 5: as soon as it is created
--- concurrency
2
--- flow
# A big file takes its time, so most likely it is being validated: what becomes
# of it then, and at which point, is held fast in t/66_slow_disk.t.

my $n = 30000;
my $line = '{"custom_id":"%d","method":"POST","url":"/v1/chat/completions",'
           . '"body":{"model":"m","messages":[],"x":"' . 'x' x 3000 . '"}}';
my $f = upload(join("\n", map { sprintf $line, $_ } 1 .. $n), timeout => 60);
is($f->{status}, 200, 'uploaded');

my $b = create_batch($f->{json}{id})->{json};
my $r = cancel_batch($b->{id});
is($r->{status}, 200, 'cancel answers 200');
$b = wait_batch($b->{id}, timeout => 60);
is($b->{status}, 'cancelled', 'cancelled');
is($b->{finalizing_at}, undef, 'finalizing_at');

# either no line is counted, or all of them are in one of the files

my $all = defined $b->{in_progress_at} ? $n : 0;
is($b->{request_counts}{total}, $all, 'lines counted');
is(output_lines($b) + error_lines($b), $all, 'lines told of');


=== TEST 6: too late
--- flow
my $b = run_batch(jsonl(1));
my $r = cancel_batch($b->{id});
is($r->{status}, 409, 'refused');
like($r->{json}{error}{message}, qr/Cannot cancel a batch with status 'completed'/,
     'message');
is_deeply(get_batch($b->{id}), $b, 'nothing changed');

$b = run_batch("{}\n");
is($b->{status}, 'failed', 'another has failed');
is(cancel_batch($b->{id})->{status}, 409, 'refused');


=== TEST 7: one batch cancelled, another goes on
--- concurrency
8
--- flow
my $f = upload(jsonl(100, mock => 'slow=100'));
my $one = create_batch($f->{json}{id})->{json};
my $two = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { mock_stats()->{answered} >= 8 }, 15), 'they run');
cancel_batch($one->{id});
is(wait_batch($one->{id})->{status}, 'cancelled', 'one is cancelled');
$two = wait_batch($two->{id});
is($two->{status}, 'completed', 'two is completed');
is($two->{request_counts}{completed}, 100, 'all of it');
