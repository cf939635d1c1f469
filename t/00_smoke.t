use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

# The whole way once, on one and on two workers' worth of requests; what each
# room promises has files of its own.

run_tests();

__DATA__

=== TEST 1: upload, create, wait, download
--- flow
my $batch = run_batch(jsonl(40));

is($batch->{status}, 'completed', 'status');
is($batch->{request_counts}{completed}, 40, 'completed');
is($batch->{request_counts}{failed}, 0, 'failed');

my @lines = output_lines($batch);

is(join(' ', map { $_->{custom_id} } @lines),
   join(' ', map { "req-$_" } 1 .. 40), 'every line, in order');
is(scalar(grep { $_->{response}{status_code} == 200 } @lines), 40, '200s');
is($lines[6]{response}{body}{choices}[0]{message}{content},
   'You said: question number 7', 'its own answer');
is(mock_stats()->{requests}, 40, 'each was sent once');



=== TEST 2: attempts that fail are made again
--- api_config
batch_retries 3;
--- flow
my $batch = run_batch(jsonl(6, mock => sub { "status=503;times=$_[0]" }));

is($batch->{status}, 'completed', 'status');

my $good = by_id(output_lines($batch));
my $bad = by_id(error_lines($batch));

is(join(' ', sort keys %$good), 'req-1 req-2 req-3', 'up to three more');
is(join(' ', sort keys %$bad), 'req-4 req-5 req-6', 'and no more');



=== TEST 3: what an upstream must not do to a line
--- api_config
batch_retries 0;
--- flow
my @faults = qw(cut cutchunk close garbage nonjson empty html500 xaccel gzip
                u2028 pretty chunked nolength echo rid);
my $batch = run_batch(jsonl(scalar @faults, mock => sub { $faults[$_[0] - 1] }));

is($batch->{status}, 'completed', 'status');
is($batch->{request_counts}{completed} + $batch->{request_counts}{failed},
   scalar @faults, 'each line has ended');

my %id = %{ by_id(output_lines($batch), error_lines($batch)) };
my %by = map { $faults[$_ - 1] => $id{"req-$_"} } 1 .. @faults;

is(scalar keys %id, scalar @faults, 'each once');

for my $fault (qw(pretty chunked nolength echo rid u2028 xaccel)) {
    is($by{$fault}{response}{status_code}, 200, "$fault is an answer");
    is($by{$fault}{response}{body}{object}, 'chat.completion', "$fault, body");
}

for my $fault (qw(cut cutchunk close garbage)) {
    ok(!defined $by{$fault}{response}
       || $by{$fault}{response}{status_code} >= 500, "$fault is none");
}

like($by{u2028}{response}{body}{choices}[0]{message}{content},
     qr/\[\x{2028}\x{2029}\x{85}\]/, 'separators survive');
is($by{html500}{response}{status_code}, 500, 'a page of errors');
--- no_error_log
[alert]
[emerg]
exited on signal
