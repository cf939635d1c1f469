# Much that expires together goes together: files, uploads, records of keys,
# batches.  What cannot be deleted is not in the way of the rest.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchClock;
use Time::HiRes ();
use Test::Nginx::Socket 'no_plan';

# names of the store's area that fit

sub names {
    my ($area, $like) = @_;
    my $dir = store_dir() . "/$area";
    return grep { m{/$like$} } map { chomp; $_ } `find $dir -mindepth 1`;
}

# whatever looks at the clock every five seconds does it now

sub later {
    clock_step($_[0]);
    timers_pass(5000);
}

# in 20 s: what goes in portions of 64, one every 10 s, takes longer

sub go {
    my ($what, $area, $like) = @_;

    Test::More::ok(wait_until(sub { !names($area, $like) }, 20), $what)
        or Test::More::diag(scalar(names($area, $like)) . ' are left');
}

sub part {
    my ($id) = @_;
    my ($body, $type) = multipart(data => { data => 'x', filename => 'b' });
    my $r = api('POST', "/v1/uploads/$id/parts", undef, body => $body,
                headers => ['Content-Type' => $type]);

    Test::More::fail("$id: no part") if $r->{status} != 200;
}

# commands whose answers nobody waits for, until the pipe is closed

sub redis_pipe {
    open my $out, '|-', 'redis-cli -s ' . test_dir() . '/redis.sock --pipe'
                        . ' >/dev/null 2>&1' or die "redis-cli: $!";
    return $out;
}

sub redis_send {
    my ($out, @args) = @_;
    print $out '*' . @args . "\r\n",
               map { '$' . length($_) . "\r\n$_\r\n" } @args;
}

# the worker has been through the store since its start

sub walked {
    my $old = store_dir() . '/keys/old.1';

    open my $f, '>', $old or die "$old: $!";
    close $f;
    utime 1, 1, $old;
    Test::More::ok(wait_until(sub { !-e $old }, 20), 'the first walk is over');
}

our $N = $ENV{BATCH_SOAK} ? 3000 : 300;

no_long_string();
run_tests();

__DATA__

=== TEST 1: files
--- flow
my %soon = (fields => ['expires_after[anchor]' => 'created_at',
                       'expires_after[seconds]' => 3600]);
my $stays = upload(jsonl(1))->{json}{id};
upload(jsonl(1), %soon) for 1 .. $main::N;
is(main::names('files', 'file-\w+[.]json'), $main::N + 1, 'all are there');

# more than a portion of those that were to go first cannot be read

for (1 .. 70) {
    redis('SET', "{batch}:f:file-$_", '{}');
    redis('ZADD', '{batch}:fx', $_, "file-$_");
}

main::later(3601);
ok(wait_until(sub { main::names('files', 'file-\w+[.]json') == 1 }, 20),
   'they are gone') or diag(scalar main::names('files', 'file-\w+[.]json'));
ok(wait_until(sub { redis('ZCARD', '{batch}:fx') == 71 }, 20),
   'from the index, too');
is(main::names('files', '[^.]*'), 1 + main::names('files', '..'),
   'with their bytes');
is(main::names('files', '.*[.]del'), $main::N, 'a tombstone of each');
is(content($stays), jsonl(1), 'the other one stays');


=== TEST 2: uploads
--- flow
main::walked();
for (1 .. $main::N) {
    my $u = api('POST', '/v1/uploads', { purpose => 'batch', bytes => 9,
                filename => 'x', mime_type => 'application/jsonl' })->{json};
    main::part($u->{id}) if $_ % 10 == 0;
}
is(main::names('uploads', 'upload[.]json'), $main::N, 'all are there');
main::later(3601);
is(main::names('uploads', 'part_\w+'), $main::N / 10, 'so are parts');
main::later(600);
ok(wait_until(sub { main::names('uploads', 'end[.]json') == $main::N }, 20),
   'they have ended');
main::go('parts are gone', 'uploads', 'part_\w+');
main::later(86400);
main::go('all is gone', 'uploads', 'upload_\w+');


=== TEST 3: records of keys
--- flow
main::walked();
my %key = (headers => ['Idempotency-Key' => 'one']);
my $id = upload(jsonl(1), %key)->{json}{id};
is(main::names('keys', '.*'), 1, 'a record');
for (1 .. $main::N) {
    open my $f, '>', store_dir() . "/keys/$_.1" or die;
}
clock_step(86400 + 3599);
is(main::names('keys', '.*'), $main::N + 1, 'all are there');
main::later(3601);
main::go('they are gone', 'keys', '.*');


=== TEST 4: batches
--- flow
my $f = upload(jsonl(1, mock => 'hang'))->{json}{id};
my @b = map { create_batch($f)->{json}{id} } 1 .. $main::N;
main::later(86401);
for (@b) {
    my $b = wait_batch($_, timeout => 60);
    fail("$_: $b->{status}") if $b->{status} ne 'expired';
}
pass('all have expired');
is(redis('ZCARD', '{batch}:active'), 0, 'none is left');


=== TEST 5: more than anybody has, 100,000 with BATCH_SOAK=1
--- flow
my $f = upload(jsonl(1), fields => ['expires_after[anchor]' => 'created_at',
                                    'expires_after[seconds]' => 3600])->{json};
my $text = redis('GET', "{batch}:f:$f->{id}");
my $n = $ENV{BATCH_SOAK} ? 100_000 : 2000;
my $pipe = main::redis_pipe();

# a blob is enough to be deleted

for (1 .. $n) {
    my $id = sprintf 'file-%02x%020d', $_ % 256, $_;
    my $dir = sprintf '%s/files/%02x', store_dir(), $_ % 256;

    mkdir $dir, 0700;
    chown((stat store_dir())[4, 5], $dir);
    open my $b, '>', "$dir/$id" or die "$dir/$id: $!";
    main::redis_send($pipe, 'SET', "{batch}:f:$id",
                     $text =~ s/\Q$f->{id}\E/$id/r);
    main::redis_send($pipe, 'ZADD', '{batch}:fx', $f->{expires_at} - 1, $id);
}
ok(close $pipe, 'they are there');
is(redis('ZCARD', '{batch}:fx'), $n + 1, 'in the index');
main::later(3601);
my $t = Time::HiRes::time();
my $most = 0;
ok(wait_until(sub {
    my $begun = Time::HiRes::time();
    http('GET', '/batch-status');
    my $took = Time::HiRes::time() - $begun;
    $most = $took if $took > $most;
    redis('ZCARD', '{batch}:fx') == 0;
}, 300), 'all are gone');
diag(sprintf '%d files in %.1f s, others waited for %d ms at most', $n,
     Time::HiRes::time() - $t, $most * 1000) if $ENV{BATCH_SOAK};
is(main::names('files', 'file-\w+'), 0, 'with their bytes');
