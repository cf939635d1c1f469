# Much that expires together goes together: files, uploads, records of keys,
# batches.  What cannot be deleted is not in the way of the rest.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchClock;
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
