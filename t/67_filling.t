# While the index is filled from the store each read fails once, each call that
# takes a descriptor, each allocation.  Then it is filled anew: until it has all
# that the store has, and nothing else, clients hear 503, never 404.  Timers are
# twenty times as fast.  BATCH_SOAK=1 tries every call, otherwise some are left out.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchFault;
use BatchDeath;
use BatchRedisProxy;
BEGIN { $ENV{FAULT_SPEED} = 20 }
use Test::Nginx::Socket 'no_plan';

Test::Nginx::Util::workers(1);

our $proxy = BatchRedisProxy->start(test_dir() . '/proxy.sock',
                                    test_dir() . '/redis.sock');

# nginx itself takes a socket that it does not get for an alert

our $Its = qr{socket\(\)[ ].*failed|$Unusable}x;

Test::Nginx::Util::add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(no_error_log => "[emerg]\nexited on signal 11\n"
                                      . "exited on signal 6\n");
    $block->set_value(no_shutdown_error_log => "[emerg]\n");

    # an answer may take 2 s
    $block->set_value(redis_conf => 'batch_redis unix:' . test_dir()
                                    . '/proxy.sock timeout=40s;');
});

# Files; a deleted one, of which the index will know; a batch that has ended; and
# others that nobody may go on with: one in the midst of its lines, with seals,
# and with segments whose writer has died; one that is to be validated; one that
# was cancelled.

sub world {
    $proxy->clear;

    my @files = map { upload(jsonl(1))->{json}{id} } 1 .. 3;
    run_batch(jsonl(2, mock => sub { $_[0] == 2 ? 'status=400' : '' }));

    # 60 lines that hang have places beside those that answer: were all 64 taken
    # by them, others would have to wait until some have failed

    my $b = create_batch(upload(jsonl(300, mock => sub { $_[0] > 240 ? 'slow=60000'
                                                                     : '' }))
                         ->{json}{id})->{json};

    # those that answer at all: what the disk knows is then in the index, too

    Test::More::ok(wait_until(sub {
        (get_batch($b->{id}) // {})->{request_counts}{completed} == 240
    }, 60), 'a batch is in the midst of its lines');

    $proxy->fault(on => 'claim', reply => "-ERR not now\r\n");

    my ($pid) = nginx_workers();
    kill 'KILL', $pid;
    Test::More::ok(wait_until(sub {
        my ($now) = nginx_workers();
        return $now && $now != $pid;
    }, 30), 'its worker has died');
    wait_ready();

    create_batch($files[0]);
    cancel_batch(create_batch($files[0])->{json}{id});

    # the index that had it before

    my $gone = upload(jsonl(1))->{json}{id};
    my $manifest = redis('GET', "{batch}:f:$gone");
    Test::More::ok($manifest, 'a manifest');
    api('DELETE', "/v1/files/$gone");

    my @seals = grep { /[.]seal$/ } leftovers('batches');
    my @segments = grep { /[.]seg$/ } leftovers('batches');
    Test::More::cmp_ok(scalar @seals, '>', 0, 'there are seals');
    Test::More::cmp_ok(scalar @segments, '>', @seals,
                       'and segments without one');

    return ($files[1], $gone, $manifest);
}

# Redis has nothing but a file that was deleted.

sub forget {
    my ($gone, $manifest) = @_;

    redis('EVAL', <<'LUA', 0, $gone, $manifest);
        redis.call('FLUSHALL')
        redis.call('SET', '{batch}:f:' .. ARGV[1], ARGV[2])
        redis.call('ZADD', '{batch}:fl:0', 1, ARGV[1])
        redis.call('ZADD', '{batch}:fl:0:batch', 1, ARGV[1])
LUA
}

sub seen {
    return json_encode([[all_files()], [all_batches()]]);
}

sub fills {
    my (%o) = @_;
    my ($file, $gone, $manifest) = world();
    my $all = seen();
    my ($before, $free) = (open_files(),
                           api('GET', '/batch-status')->{json}{connections_free});
    my @wrong;

    forget($gone, $manifest);
    Test::More::ok(wait_until(sub { http('GET', "/v1/files/$file")->{status} == 200 },
                              60), 'it is filled');
    Test::More::is(seen(), $all, 'with all there is');

    # whoever asks may have met it, if it is not about threads

    my $may = $o{where} eq 'threads' ? qr/^503$/ : qr/^(0|500|503)$/;

    for my $f (@{ $o{faults} }) {
        every_call(sub {
            my ($name, %heard) = ('');

            forget($gone, $manifest);
            Test::More::ok(wait_until(sub {
                my $status = http('GET', "/v1/files/$file")->{status} // 0;
                $heard{$status} = 1 if $status !~ $may;
                return $status == 200;
            }, 60), 'filled');
            delete $heard{200};
            $name = fault_name() if fault_off();
            BatchFault::words(0, 0);
            my $now = seen();
            push @wrong, "$_[0] @$f $name: " . join ' ', keys %heard if %heard;
            push @wrong, "$_[0] @$f $name: $now" if $now ne $all;
        }, @$f, where => $o{where}, what => "filling, $o{where}, @$f",
           step => $o{step});
    }

    Test::More::is_deeply(\@wrong, [], 'never taken for filled when it is not')
        or Test::More::diag($all);
    is_clean($before, $free);
    Test::More::is_deeply([leftovers('tmp')], [], 'no file is left');
    no_alerts($Its);
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: reads and descriptors
--- timeout: 300
--- flow
main::fills(where => 'all', step => 45, faults => [
    [class => 'reads', errno => 'EIO'], [class => 'opens', errno => 'EMFILE']]);


=== TEST 2: allocations in threads
--- timeout: 300
--- flow
main::fills(where => 'threads', step => 60, faults => [[class => 'memory']]);


=== TEST 3: allocations of the event loop
--- timeout: 300
--- flow
main::fills(where => 'events', step => 30, faults => [[class => 'memory']]);


=== TEST 4: no room for the manifest of a result, which a power cut has taken
--- no_error_log
[alert]
[emerg]
--- flow
$main::proxy->clear;
my $b = run_batch(jsonl(2));
my $id = $b->{output_file_id};
my $text = content($id);
my ($manifest) = glob store_dir() . "/files/*/$id.json";
ok(unlink($manifest), 'it is lost');

fault(n => 1, sticky => 1, call => 'linkat', errno => 'ENOSPC');
my $gen = sub { grep { /:gen:/ } @{ redis('KEYS', '{batch}:gen:*') } };
redis('DEL', $gen->());
ok(wait_until(sub { $gen->() }, 30), 'the index is filled all the same');
cmp_ok(BatchFault::word(6), '>', 0, 'there was no room');
is(wait_answer("/v1/files/$id")->{status}, 200, 'the file is there');
is(content($id), $text, 'with all it had');
ok(!-e $manifest, 'without a manifest');
fault_off();

redis('DEL', $gen->());
ok(wait_until(sub { $gen->() }, 30), 'once more');
ok(-e $manifest, 'and there it is');
is(http('DELETE', "/v1/files/$id")->{status}, 200, 'it can be deleted');
redis('DEL', $gen->());
ok(wait_until(sub { $gen->() }, 30), 'and again');
is(wait_answer("/v1/files/$id")->{status}, 404, 'and stays so');
