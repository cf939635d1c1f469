# A worker never waits for the disk: the calls that would are watched on the
# thread of the event loop, in everything that the module does.

use strict;
use warnings;

use lib 't/lib';

use BatchTest;

BEGIN {
    # the sanitizers' runtime wants to be the first library there is

    if (($ENV{TEST_NGINX_BINARY} // '') =~ /asan/) {
        Test::More::plan(skip_all => 'not with sanitizers: the plain run'
                                     . ' watches the same code');
    }

    my $so = test_dir() . '/nonblock.so';

    system($ENV{CC} || 'cc', '-shared', '-fPIC', '-o', $so,
           't/lib/nonblock.c', '-ldl') == 0
        or die "t/lib/nonblock.c does not compile\n";

    $ENV{NONBLOCK_LOG} = test_dir() . '/nonblock.log';

    open my $log, '>', $ENV{NONBLOCK_LOG} or die;
    close $log;
    chmod 0666, $ENV{NONBLOCK_LOG};

    $Test::Nginx::Util::ld_preload = $ENV{LD_PRELOAD} = $so;
}

use Test::Nginx::Socket 'no_plan';

# what was said since the last look

sub watched {
    my $text = slurp($ENV{NONBLOCK_LOG});
    truncate $ENV{NONBLOCK_LOG}, 0;
    return $text;
}

run_tests();

__DATA__

=== TEST 1: upload, run, large answers, retries, download, delete
--- main_config
env NONBLOCK_LOG;
--- api_config
batch_retries 1;
--- flow
like(watched(), qr/watching \d+\n.*watching \d+\n/s, 'both workers are');

my $batch = run_batch(jsonl(300));
is($batch->{status}, 'completed', 'status');

$batch = run_batch(jsonl(6,
                       mock => sub { $_[0] % 2 ? 'size=3000000' : 'status=500' }));
is($batch->{request_counts}{completed}, 3, 'large answers');
is($batch->{request_counts}{failed}, 3, 'failed lines');

is(length(content($batch->{output_file_id})) > 9000000 ? 1 : 0, 1,
   'downloaded');

for my $id ($batch->{output_file_id}, $batch->{error_file_id},
            $batch->{input_file_id})
{
    is(http(DELETE => "/v1/files/$id")->{status}, 200, 'deleted');
}

unlike(watched(), qr/event thread/, 'nothing on the event thread');



=== TEST 2: bad input, cancel, an emptied Redis
--- main_config
env NONBLOCK_LOG;
--- flow
like(watched(), qr/watching/, 'watched');

my $batch = run_batch("{\"custom_id\":\"a\"}\n" x 1200);
is($batch->{status}, 'failed', 'bad lines');

my $file = upload(jsonl(2000, mock => 'slow=50'))->{json}{id};
my $run = create_batch($file)->{json};
wait_batch($run->{id}, until => qr/in_progress/);
cancel_batch($run->{id});
is(wait_batch($run->{id})->{status}, 'cancelled', 'cancelled');

redis('FLUSHALL');
redis_stop('KILL');
redis_start();

ok(wait_until(sub { http(GET => "/v1/batches/$run->{id}")->{status} == 200 },
              20),
   'the index is filled again');
is(get_batch($run->{id})->{status}, 'cancelled', 'from the disk');

unlike(watched(), qr/event thread/, 'nothing on the event thread');
