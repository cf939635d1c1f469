# A store that fills up: nothing new is let in, what runs waits, and goes on by
# itself.

use strict;
use warnings;

use lib 't/lib';

# A real one is a small tmpfs, in a mount namespace of this test's own: however
# the test ends, the mount ends with it.

BEGIN {
    if ($> == 0 && !$ENV{BATCH_OWN_MOUNTS}
        && system('unshare -m true 2>/dev/null') == 0)
    {
        $ENV{BATCH_OWN_MOUNTS} = 1;
        exec 'unshare', '-m', $^X, (map { "-I$_" } @INC), $0;
    }
}

use BatchTest;
use BatchFault;
use Test::Nginx::Socket 'no_plan';

our $Small = test_dir() . '/small';
our $Mounted = 0;

if ($ENV{BATCH_OWN_MOUNTS}) {
    mkdir $Small;
    $Mounted = system("mount -t tmpfs -o size=24m,mode=0755 none $Small") == 0;
}

Test::More::diag('no tmpfs of our own here (it needs root): a full disk is'
                 . ' only played') unless $Mounted;

$ENV{TEST_NGINX_SMALL} = $Mounted ? $Small : test_dir();

END {
    if ($Mounted) {
        nginx_stop('QUIT');
        system("umount $Small");
    }
}

sub state {
    return api('GET', '/batch-status')->{json}{store};
}

# until each worker has seen it

sub wait_full {
    my ($full) = @_;
    my $streak = 0;

    return wait_until(sub {
        my $s = state()->{state};
        $streak = ($s eq 'full' xor !$full) ? $streak + 1 : 0;
        return $streak >= 40;
    }, 30);
}

sub is_507 {
    my ($r, $what) = @_;

    is($r->{status}, 507, "$what: 507");
    is_deeply($r->{json}{error},
              { message => 'The server has no space left to store this.',
                type => 'server_error', param => undef,
                code => 'storage_full' }, "$what: the error");
    is($r->{headers}{'x-should-retry'}, 'false', "$what: not at once again");
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: below the floor nothing new is let in, what frees space is
--- concurrency
2
--- flow
my $f = upload(jsonl(2))->{json};
my $u = api('POST', '/v1/uploads', { purpose => 'batch', filename => 'a.jsonl',
        bytes => 10, mime_type => 'application/jsonl' })->{json};
my $b = create_batch(upload(jsonl(200, mock => 'slow=200'))->{json}{id})->{json};
wait_batch($b->{id}, until => qr/in_progress/);

fault_space(1000);
ok(main::wait_full(1), 'seen');

main::is_507(upload(jsonl(2)), 'a file');
main::is_507(create_batch($f->{id}), 'a batch');
main::is_507(api('POST', '/v1/uploads', { purpose => 'batch', bytes => 10,
             filename => 'a', mime_type => 'application/jsonl' }), 'an upload');
main::is_507(api('POST', "/v1/uploads/$u->{id}/parts", undef, body => 'x',
             headers => ['Content-Type', 'multipart/form-data; boundary=x']),
             'a part');
main::is_507(api('POST', "/v1/uploads/$u->{id}/complete", { part_ids => [] }),
             'a completion');

is(http('GET', "/v1/files/$f->{id}/content")->{body}, jsonl(2), 'a download');
is(api('GET', '/v1/files')->{status}, 200, 'the list');
is(api('DELETE', "/v1/files/$f->{id}")->{status}, 200, 'a deletion');
is(cancel_batch($b->{id})->{status}, 200, 'a cancellation');
is(wait_batch($b->{id})->{status}, 'cancelled', 'which is carried out');

my $s = main::state();
is($s->{state}, 'full', 'state');
cmp_ok($s->{free_bytes}, '<=', 1000, 'free');
cmp_ok($s->{min_free_bytes}, '>=', 1024 * 1024, 'kept');
like(http('GET', '/batch-status?format=prometheus')->{body},
     qr/^nginx_batch_store_paused 1$/m, 'for Prometheus, too');

fault_space();
ok(main::wait_full(0), 'room again');
is(upload(jsonl(2))->{status}, 200, 'a file again');
like(error_log_text(), qr/the store is full: \d+ bytes and \d+ inodes/, 'said');
like(error_log_text(), qr/there is room in the store again/, 'and its end');


=== TEST 2: inodes count as bytes do
--- flow
fault_space(1 << 40, 500);
ok(main::wait_full(1), 'seen');
main::is_507(upload(jsonl(2)), 'a file');
fault_space(1 << 40, 1000);
ok(main::wait_full(0), 'room again');
is(upload(jsonl(2))->{status}, 200, 'a file again');


=== TEST 3: before the body is read, and by what it would take
--- store_conf
    batch_store $TEST_NGINX_BATCH_DIR/store min_free=1m;
--- flow
fault_space(3 << 20);
ok(wait_until(sub { main::state()->{free_bytes} == 3 << 20 }), 'seen');
ok(main::wait_full(0), 'by both');

sub main::answer_to_head {
    my ($length) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                  PeerPort => server_port()) or die;
    print $s "POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: $length\r\n"
             . "Content-Type: multipart/form-data; boundary=x\r\n\r\n";
    $s->flush;
    my $bits = '';
    vec($bits, fileno $s, 1) = 1;
    return select($bits, undef, undef, $_[1]) ? scalar <$s> : 'none';
}

like(main::answer_to_head((2 << 20) + 1, 20), qr/ 507 /, 'too large');
is(main::answer_to_head(2 << 20, 0.5), 'none', 'fits: the body is waited for');
fault_space();


=== TEST 4: batches wait, and go on by themselves
--- concurrency
2
--- flow
my $b = create_batch(upload(jsonl(60, mock => 'slow=50'))->{json}{id})->{json};
wait_until(sub { get_batch($b->{id})->{request_counts}{completed} > 3 });

fault_space(1000);
ok(main::wait_full(1), 'seen');
ok(wait_until(sub { api('GET', '/batch-status')->{json}{routes}[0]{inflight}
                    == 0 }), 'lines in flight end');
my $sent = mock_stats()->{requests};
my $n = get_batch($b->{id})->{request_counts}{completed};
cmp_ok($n, '<', 60, 'it is not through');
select undef, undef, undef, 1.5;
is(mock_stats()->{requests}, $sent, 'no line starts');
is(get_batch($b->{id})->{status}, 'in_progress', 'the batch waits');

fault_space();
$b = wait_batch($b->{id});
is($b->{status}, 'completed', 'goes on');
is(scalar keys %{ by_id(output_lines($b)) }, 60, 'each line');
is(mock_stats()->{requests}, 60, 'once');


=== TEST 5: the floor may be chosen
--- store_conf
    batch_store $TEST_NGINX_BATCH_DIR/store min_free=0;
--- flow
is(main::state()->{$_}, 0, $_) for qw(min_free_bytes min_free_inodes);
fault_space(0, 0);
wait_until(sub { main::state()->{free_bytes} == 0 });
is(upload(jsonl(2))->{status}, 200, 'none: it is tried');
fault_space();


=== TEST 6: a floor that is no size
--- store_conf
    batch_store $TEST_NGINX_BATCH_DIR/store min_free=much;
--- must_die
--- no_error_log
[alert]
--- error_log
invalid parameter "min_free=much" of "batch_store", expected is min_free=<size>


=== TEST 7: a real disk that fills up while lines run
--- store_conf
    batch_store $TEST_NGINX_SMALL/store min_free=2m;
--- concurrency
4
--- no_error_log
[alert]
[emerg]
exited on signal
--- flow
SKIP: {
skip 'no small filesystem here', 1 unless $main::Mounted;

# four million bytes of answers, on a disk that somebody fills meanwhile

my $in = jsonl(40, mock => 'slow=30;size=100000');
my $b = create_batch(upload($in)->{json}{id})->{json};
wait_until(sub { get_batch($b->{id})->{request_counts}{completed} > 2 });
system("dd if=/dev/zero of=$main::Small/ballast bs=64k >/dev/null 2>&1");
ok(wait_until(sub { main::state()->{state} ne 'ok' }), 'no line starts');
is(upload(jsonl(500))->{status}, 507, 'an upload') for 1 .. 2;
my $n = get_batch($b->{id})->{request_counts}{completed};
cmp_ok($n, '<', 40, 'it is not through');
is_deeply([grep { -f } glob "$main::Small/store/tmp/*"], [], 'nothing in tmp');

unlink "$main::Small/ballast";
$b = wait_batch($b->{id}, timeout => 90);
is($b->{status}, 'completed', 'there is room: it goes on');
is(scalar keys %{ by_id(output_lines($b)) }, 40, 'each line');
is((grep { length(json_encode($_)) < 100_000 } output_lines($b)), 0, 'whole');
is_deeply([grep { -f } glob "$main::Small/store/tmp/*"], [], 'nothing in tmp');
}


=== TEST 8: a real disk whose inodes run out while lines run
--- store_conf
    batch_store $TEST_NGINX_SMALL/store min_free=2m;
--- concurrency
4
--- no_error_log
[alert]
[emerg]
exited on signal
--- flow
SKIP: {
skip 'no small filesystem here', 1 unless $main::Mounted;

my ($used) = `df --output=iused $main::Small` =~ /(\d+)/;
my $all = $used + 2000;
is(system("mount -o remount,size=24m,nr_inodes=$all $main::Small"), 0, 'inodes');
my $b = create_batch(upload(jsonl(40, mock => 'slow=500'))->{json}{id})->{json};
wait_until(sub { get_batch($b->{id})->{request_counts}{completed} > 2 });

my $n = 0;
mkdir "$main::Small/many";
while (open my $f, '>', "$main::Small/many/$n") { $n++ }
cmp_ok($n, '>', 100, 'there is no inode left');
ok(wait_until(sub { main::state()->{state} ne 'ok' }), 'no line starts');
is(upload(jsonl(5))->{status}, 507, 'an upload') for 1 .. 2;
cmp_ok(get_batch($b->{id})->{request_counts}{completed}, '<', 40,
       'it is not through');
is_deeply([grep { -f } glob "$main::Small/store/tmp/*"], [], 'nothing in tmp');

unlink glob "$main::Small/many/*";
$b = wait_batch($b->{id}, timeout => 90);
is($b->{status}, 'completed', 'there are some: it goes on');
is(scalar keys %{ by_id(output_lines($b)) }, 40, 'each line');
is_deeply([grep { -f } glob "$main::Small/store/tmp/*"], [], 'nothing in tmp');
}
