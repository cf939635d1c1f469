# One process that is master and worker at once ("master_process off").

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

master_off();
workers(1);

run_tests();

__DATA__

=== TEST 1: a batch with good, failing and large answers
--- api_config
batch_retries 1;
--- flow
my $batch = run_batch(jsonl(400, mock => sub {
    $_[0] % 40 == 0 ? 'status=400' : $_[0] % 100 == 1 ? 'size=600000' : '' }));

is($batch->{status}, 'completed', 'status');
is_deeply($batch->{request_counts},
          { total => 400, completed => 390, failed => 10 }, 'counts');

my %seen;
$seen{$_->{custom_id}}++ for output_lines($batch), error_lines($batch);
is(scalar(keys %seen), 400, 'every custom_id');
is((grep { $_ != 1 } values %seen) + 0, 0, 'once');



=== TEST 2: cancel, then delete
--- flow
my $file = upload(jsonl(500, mock => 'slow=100'))->{json}{id};
my $batch = create_batch($file)->{json};

wait_batch($batch->{id}, until => qr/in_progress/);
is(cancel_batch($batch->{id})->{json}{status}, 'cancelling', 'cancelling');

$batch = wait_batch($batch->{id});
is($batch->{status}, 'cancelled', 'cancelled');
is((() = (output_lines($batch), error_lines($batch))), 500, 'all lines');
is(http(DELETE => "/v1/files/$file")->{status}, 200, 'deleted');



=== TEST 3: Redis goes and comes back
--- flow
my $batch = create_batch(upload(jsonl(300, mock => 'slow=30'))->{json}{id})
            ->{json};

wait_batch($batch->{id}, until => qr/in_progress/);
redis_stop('KILL');
is(http(GET => '/v1/batches')->{status}, 503, 'without Redis');
redis_start();

is(wait_batch($batch->{id})->{status}, 'completed', 'completed');



=== TEST 4: an upstream that is away for a while eats no lines
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
# Eight lines in flight: the second attempt of the last of them is the 16th
# failure in a row.  From then on failures do not count, and no line has had three.

mock_stop();
my $f = upload(jsonl(200));
my $b = create_batch($f->{json}{id})->{json};

ok(wait_until(sub { error_log_text() =~ /attempts in a row failed/ }, 20),
   'the breaker opens');

# longer than the attempts of a line would take: 0.5 s and 1 s

sleep 3;
is(get_batch($b->{id})->{request_counts}{failed}, 0, 'nothing is lost');

mock_start();
$b = wait_batch($b->{id}, timeout => 40);
is($b->{status}, 'completed', 'completed');
is_deeply($b->{request_counts}, { total => 200, completed => 200, failed => 0 },
          'all lines succeed');
is($b->{error_file_id}, undef, 'no error file');
like(error_log_text(), qr/answers again/, 'the breaker closes');
