# Attempts after the first.  How long the pauses between them are, and what
# limits them, is in t/77_backoff.t.

use lib 't/lib';
use BatchTest;
use List::Util qw(min);
use Test::Nginx::Socket 'no_plan';

# the mock's times of a line's attempts, ms

sub times {
    my ($line) = @_;
    return map { $_->{time} } grep { $_->{line} eq $line }
           @{ mock_get('/mock/log')->{data} };
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: Retry-After is a lower bound
--- flow
my $b = run_batch(jsonl(2, mock => sub {
    $_[0] == 1 ? 'status=429;retry_after=2;times=1' : '' }));
is_deeply($b->{request_counts}, { total => 2, completed => 2, failed => 0 },
          'both succeed');
my @t = main::times(1);
is(scalar @t, 2, 'two attempts');
cmp_ok($t[1] - $t[0], '>=', 1990, 'two seconds between them');


=== TEST 2: Retry-After as a date
--- flow
my $at = time() + 3;
my $when = POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime($at));
my $b = run_batch(jsonl(1, mock => "status=503;retry_after=$when;times=1"));
is($b->{request_counts}{completed}, 1, 'succeeds');
my @t = main::times(1);
cmp_ok($t[1], '>=', $at * 1000 - 10, 'not before its time');


=== TEST 3: 500 twice, then good
--- flow
my $n = 20;
my $b = run_batch(jsonl($n, mock => 'status=500;times=2'));
is_deeply($b->{request_counts}, { total => $n, completed => $n, failed => 0 },
          'all succeed');
is($b->{error_file_id}, undef, 'no error file');

# half of 500 ms at least, then half of 1000

my @t = map { [main::times($_)] } 1 .. $n;
is(scalar(grep { @$_ == 3 } @t), $n, 'three attempts each');
cmp_ok(min(map { $_->[1] - $_->[0] } @t), '>=', 240,
       'the shortest pause before the second');
cmp_ok(min(map { $_->[2] - $_->[1] } @t), '>=', 490,
       'the shortest pause before the third');


=== TEST 4: the connection closed twice, then good
--- flow
my $b = run_batch(jsonl(2, mock => sub {
    $_[0] == 2 ? 'close;times=2' : 'cut;times=1' }));
is($b->{request_counts}{completed}, 2, 'both succeed');
is(scalar(() = main::times(2)), 3, 'three attempts');
is(scalar(() = main::times(1)), 2, 'two attempts');
is(scalar output_lines($b), 2, 'nothing of the bad ones is left');


=== TEST 5: in the end the last answer is told
--- api_config
    batch_retries 2;
--- flow
my $b = run_batch(jsonl(1, mock => 'status=503'));
is($b->{status}, 'completed', 'the batch completes');
is($b->{output_file_id}, undef, 'without an output file');
my ($l) = error_lines($b);
is($l->{response}{status_code}, 503, 'status');
is($l->{response}{body}{error}{type}, 'server_error', 'body');
is($l->{error}, undef, 'error');
is(scalar(() = main::times(1)), 3, 'three attempts');


=== TEST 6: no retries at all
--- api_config
    batch_retries 0;
--- flow
my $b = run_batch(jsonl(2, mock => sub {
    $_[0] == 1 ? 'status=500;times=1' : 'close;times=1' }));
is($b->{request_counts}{failed}, 2, 'both fail');
is(mock_stats()->{requests}, 2, 'after one attempt each');


=== TEST 7: what would not get better is not tried again
--- flow
my @codes = (400, 401, 403, 404, 409, 413, 422);
my $b = run_batch(jsonl(scalar @codes,
                        mock => sub { "status=$codes[$_[0] - 1]" }));
is($b->{request_counts}{failed}, scalar @codes, 'all fail');
is(mock_stats()->{requests}, scalar @codes, 'after one attempt each');
is_deeply([map { $_->{response}{status_code} } error_lines($b)], \@codes,
          'statuses');


=== TEST 8: the upstream is told which attempt it is
--- line_config
    proxy_set_header X-Attempt $batch_attempt;
--- flow
my $b = run_batch(jsonl(1, mock => 'status=500;times=2;headers'));
my ($l) = output_lines($b);
like($l->{response}{body}{headers}, qr/^x-attempt: 3\r$/mi, 'the third');


=== TEST 9: a line's deadline ends its attempts
--- api_config
    batch_timeout 4s;
    batch_retries 1000;
--- flow
my $b = run_batch(jsonl(1, mock => 'status=500'));
is($b->{request_counts}{failed}, 1, 'fails');
my ($l) = error_lines($b);
is($l->{response}{status_code}, 500, 'with the last answer');
cmp_ok(mock_stats()->{requests}, '>', 1, 'after some attempts');


=== TEST 10: an upstream that is away costs no more lines than it takes to see it
--- api_config
    batch_retries 2;
--- concurrency
8
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
mock_stop();
my $f = upload(jsonl(200));
my $b = create_batch($f->{json}{id})->{json};

ok(wait_until(sub { error_log_text() =~ /attempts in a row failed/ }, 20),
   'the breaker opens');

# much longer than the attempts of a line would take: 0.5 s and 1 s

sleep 4;
mock_start();
$b = wait_batch($b->{id}, timeout => 40);
is($b->{status}, 'completed', 'completed');

# A worker sees it when 16 attempts in a row have failed.  15 of them counted,
# that is five lines with three each; there are two workers.  That none is lost
# where one worker has enough lines in flight: t/25_single.t.

my $c = $b->{request_counts};
cmp_ok($c->{failed}, '<=', 10, 'lines lost');
is($c->{completed}, 200 - $c->{failed}, 'the others succeed');
like(error_log_text(), qr/answers again/, 'the breaker closes');
