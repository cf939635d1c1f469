# Attempts after the first.

use lib 't/lib';
use BatchTest;
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
my $when = POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time() + 3));
my $b = run_batch(jsonl(1, mock => "status=503;retry_after=$when;times=1"));
is($b->{request_counts}{completed}, 1, 'succeeds');
my @t = main::times(1);
cmp_ok($t[1] - $t[0], '>=', 1000, 'not before its time');


=== TEST 3: 500 twice, then good
--- flow
my $b = run_batch(jsonl(3, mock => sub {
    $_[0] == 2 ? 'status=500;times=2' : '' }));
is_deeply($b->{request_counts}, { total => 3, completed => 3, failed => 0 },
          'all succeed');
my @t = main::times(2);
is(scalar @t, 3, 'three attempts');
cmp_ok($t[1] - $t[0], '>=', 10, 'a pause');
cmp_ok($t[2] - $t[0], '>=', 30, 'another');
is($b->{error_file_id}, undef, 'no error file');


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


=== TEST 10: an upstream that is away for a while eats no lines
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
my $now = wait_batch($b->{id}, until => qr/in_progress/);
cmp_ok($now->{request_counts}{failed}, '<', 50, 'few lines are lost');

mock_start();
$b = wait_batch($b->{id}, timeout => 40);
is($b->{status}, 'completed', 'completed');
cmp_ok($b->{request_counts}{completed}, '>', 150, 'the others succeed');
like(error_log_text(), qr/answers again/, 'the breaker closes');
