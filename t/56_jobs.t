# batch_job: what a job_id stands for.

use lib 't/lib';

BEGIN {
    # the order of lines is one worker's
    $ENV{BATCH_TEST_WORKERS} = 1;
}

use BatchTest;
use Test::Nginx::Socket 'no_plan';

our $jobs = <<'CONF';
    batch_job  job-a  model=big-1  price=0.25  window=unlimited;
    batch_job  job-b  price=2.000001  pass=/other-lines/  concurrency=2;
    batch_job  job-hi  priority=9;
    batch_job  job-lo  priority=0;
CONF

our $other = <<'CONF';
    location /other-lines/ {
        internal;
        proxy_pass http://inference/other/;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }
CONF

add_block_preprocessor(sub {
    my ($block) = @_;

    return if defined $block->must_die;

    $block->set_value(http_extra => ($block->http_extra // '') . $::jobs);
    $block->set_value(server_extra => ($block->server_extra // '') . $::other);
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: model, price and window are the job's
--- flow
my $f = upload(jsonl(4, body => sub {
    +{ messages => [{ role => 'user', content => "x" x $_[0] }] }
}))->{json};
my $b = create_batch($f->{id}, job_id => 'job-a')->{json};

is($b->{model}, 'big-1', 'model');
is($b->{price_1m_tokens}, 0.25, 'price');
is($b->{completion_window}, 'unlimited', 'window');
is($b->{expires_at}, undef, 'it never expires');
is($b->{job_id}, 'job-a', 'job_id');

$b = wait_batch($b->{id});
is($b->{status}, 'completed', 'lines need no model');
is($b->{request_counts}{completed}, 4, 'all of them');
is($b->{model}, 'big-1', 'model at the end');
cmp_ok($b->{usage}{total_tokens}, '>', 0, 'tokens');
is($b->{usage}{total_tokens},
   $b->{usage}{prompt_tokens} + $b->{usage}{completion_tokens}, 'they add up');
cmp_ok(abs($b->{processing_cost} - $b->{usage}{total_tokens} * 0.25 / 1e6),
       '<', 1e-12, 'cost');



=== TEST 2: a client cannot choose another model's name for the job
--- flow
my $b = run_batch(jsonl(2, model => 'small'), job_id => 'job-a');
is($b->{status}, 'completed', 'lines may have one');
is($b->{model}, 'big-1', 'the batch shows the job\'s');



=== TEST 3: lines without a model need a job that has one
--- flow
my $f = upload(jsonl(1, body => sub { +{ messages => [] } }))->{json};

for ('job-b', 'unknown', undef) {
    my $b = create_batch($f->{id}, defined $_ ? (job_id => $_) : ())->{json};
    $b = wait_batch($b->{id});
    is($b->{status}, 'failed', 'it fails with ' . ($_ // 'none'));
    is($b->{errors}{data}[0]{param}, 'body.model', 'because of the model');
}



=== TEST 4: an unknown job is only told again
--- flow
my $b = run_batch(jsonl(2), job_id => 'what-ever');
is($b->{status}, 'completed', 'it runs');
is($b->{job_id}, 'what-ever', 'its id');
is($b->{price_1m_tokens}, 0, 'no price');
is($b->{processing_cost}, 0, 'no cost');
is($b->{completion_window}, '24h', 'the client\'s window');



=== TEST 5: a job's lines go where it says, so many at a time
--- flow
mock_stop();
mock_start('-d', 20);
my $b = run_batch(jsonl(24), job_id => 'job-b');
is($b->{status}, 'completed', 'status');
is($b->{price_1m_tokens}, 2.000001, 'a price of six digits');

my %seen = map { $_ => 1 } grep { /chat/ } mock_paths(50);
is(join(' ', sort keys %seen), '/other/v1/chat/completions', 'path');
is(mock_stats()->{max_inflight}, 2, 'two at a time');
mock_stop();
mock_start();



=== TEST 6: $batch_model and $batch_job of lines without a model
--- line_config
    proxy_set_header X-V-Model $batch_model;
    proxy_set_header X-V-Job $batch_job;
--- flow
my $n = 0;
my $batch = run_batch(jsonl(2, body => sub {
    +{ messages => [], mock => 'headers', $_[0] == 2 ? (model => 'mine') : () }
}), job_id => 'job-a');
is($batch->{status}, 'completed', 'status');

for (output_lines($batch)) {
    my $h = $_->{response}{body}{headers};
    like($h, $n++ ? qr/^X-V-Model: mine\r/m : qr/^X-V-Model: big-1\r/m,
         "model of line $n");
    like($h, qr/^X-V-Job: job-a\r/m, "job of line $n");
}



=== TEST 7: a higher priority goes first
--- concurrency: 1
--- flow
mock_stop();
mock_start('-d', 15);
my $lo = upload(jsonl(30, prefix => 'lo-', body => sub {
    +{ model => 'lo', messages => [] } }))->{json};
my $hi = upload(jsonl(8, prefix => 'hi-', body => sub {
    +{ model => 'hi', messages => [] } }))->{json};

$lo = create_batch($lo->{id}, job_id => 'job-lo')->{json};
wait_until(sub { get_batch($lo->{id})->{request_counts}{completed} > 2 }, 10);
$hi = create_batch($hi->{id}, job_id => 'job-hi')->{json};
$hi = wait_batch($hi->{id});
$lo = wait_batch($lo->{id});
is("$lo->{status} $hi->{status}", 'completed completed', 'both');


my @lines = slurp(test_dir() . '/mock-requests.log') =~ /line=(\d+)/g;
my $order = join ' ', splice @lines, -38;
like($order, qr/^1 2 3 .*\b\d+ 1 2 3 4 5 6 7 8 \d+.* 30$/,
     'nothing between the lines of the later one');
mock_stop();
mock_start();



=== TEST 8: an option that is not known
--- http_extra
    batch_job j speed=9;
--- must_die
--- error_log
invalid or duplicate option "speed=9" in "batch_job j": known are model=<name>



=== TEST 9: a price that is none
--- http_extra
    batch_job j price=-1;
--- must_die
--- error_log
invalid or duplicate option "price=-1" in "batch_job j"



=== TEST 10: a priority that is none
--- http_extra
    batch_job j priority=10;
--- must_die
--- error_log
invalid or duplicate option "priority=10" in "batch_job j"



=== TEST 11: concurrency 0
--- http_extra
    batch_job j concurrency=0;
--- must_die
--- error_log
invalid or duplicate option "concurrency=0" in "batch_job j"



=== TEST 12: a window that is none
--- http_extra
    batch_job j window=soon;
--- must_die
--- error_log
invalid or duplicate option "window=soon" in "batch_job j"



=== TEST 13: an option twice
--- http_extra
    batch_job j model=a model=b;
--- must_die
--- error_log
invalid or duplicate option "model=b" in "batch_job j"



=== TEST 14: a job twice
--- http_extra
    batch_job j model=a;
    batch_job j;
--- must_die
--- error_log
duplicate "batch_job j"



=== TEST 15: a pass that leads nowhere
--- http_extra
    batch_job j pass=/nowhere;
    server {
        listen 127.0.0.1:1;
        location /v1/ { batch_api; batch_pass /batch-lines; }
        location /batch-lines/ { internal; return 204; }
    }
--- must_die
--- error_log
"batch_job ... pass=/nowhere": the server has no location for it; add: location /nowhere/



=== TEST 16: a pass that is no prefix
--- http_extra
    batch_job j pass=http://x/;
--- must_die
--- error_log
invalid or duplicate option "pass=http://x/" in "batch_job j"



=== TEST 17: too many jobs
--- http_extra eval
join '', map { "batch_job j$_;\n" } 1 .. 65;
--- must_die
--- error_log
"batch_job" directive is given too often: at most 64 jobs are possible



=== TEST 18: an id that is empty
--- http_extra
    batch_job "" price=1;
--- must_die
--- error_log
"batch_job" directive must have an id of 1 to 256 bytes
