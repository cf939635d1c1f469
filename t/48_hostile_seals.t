# Row 68 of the list of hostile inputs, its journal: seals that somebody has
# edited, segments that are damaged without a seal that would notice, and both
# of another batch.  They do not count, the chunk runs again, and an alert tells
# of it.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchDamage;
use Test::Nginx::Socket 'no_plan';

# One chunk of 8 lines is done and sealed, another has two lines.

sub sealed {
    my $id = BatchDamage::half(@_);

    wait_until(sub { -s BatchDamage::dir_of($id) . '/c0.1.seal' }, 60)
        or die 'no seal';
    return $id;
}

# One chunk is sealed, another has records that were durable before others.

sub grouped {
    for (1 .. 10) {
        my $id = sealed(@_, good => 14, late => 3, hanging => 6);
        my $segment = BatchDamage::dir_of($id) . '/c1.1.seg';

        return ($id, $segment) if BatchDamage::groups($segment) > 1;
    }

    die 'always one group';
}

no_long_string();
worker_connections(1024);
run_tests();

__DATA__

=== TEST 1: row 68: a seal
--- concurrency
300
--- flow
my $foreign = main::sealed(prefix => 'other-');
my $from = BatchDamage::dir_of($foreign);
my $void = 'chunk 0: seal of epoch 1 is void: ';
my @cases = (
    ['a bit of its head', $void . 'damaged',
     sub { BatchDamage::flip($_[0], 24) }],
    ['a bit of its counts', $void . 'damaged',
     sub { BatchDamage::flip($_[0], 33) }],
    ['a bit of its picks', $void . 'damaged',
     sub { BatchDamage::flip($_[0], (-s $_[0]) - 20) }],
    ['a huge number of picks', $void . 'damaged', sub {
        my $s = slurp($_[0]);
        substr($s, 12, 4) = "\xff\xff\xff\xff";
        BatchDamage::bytes($_[0], $s) }],
    ['cut by a pick', $void . 'damaged',
     sub { truncate $_[0], (-s $_[0]) - 40 }],
    ['huge', qr/"c0\.1\.seal" is not a regular file of at most/,
     sub { truncate $_[0], 1 << 40 }],
    ['0 bytes', $void . 'damaged', sub { BatchDamage::bytes($_[0], '') }],
    ['gone', 'chunk 0: has no seal', sub { unlink $_[0] }],
    ['a symlink', qr/"c0\.1\.seal" failed/, \&BatchDamage::link_out],
    ['a directory', qr/"c0\.1\.seal" is not a regular file/,
     sub { unlink $_[0]; mkdir $_[0] }],
    ['of another batch', $void . 'of another batch, chunk or epoch',
     sub { BatchDamage::bytes($_[0], slurp("$from/c0.1.seal")) }],
    ['and its segment, too', $void . 'of another batch, chunk or epoch', sub {
        BatchDamage::bytes($_[1] . "/$_", slurp("$from/$_"))
            for 'c0.1.seal', 'c0.1.seg' }],
    ['of another chunk', 'chunk 1: seal of epoch 1 is void: of another batch, chunk',
     sub { BatchDamage::bytes("$_[1]/c1.1.seal", slurp($_[0])) }],
    ['of another epoch', 'chunk 0: seal of epoch 7 is void: of another batch, chunk',
     sub { rename $_[0], "$_[1]/c0.7.seal" }],
    ['whose segment is another\'s', $void . 'a segment that it names is',
     sub { BatchDamage::bytes("$_[1]/c0.1.seg", slurp("$from/c0.1.seg")) }],
    ['whose segment is gone', $void . 'a segment that it names is',
     sub { unlink "$_[1]/c0.1.seg" }],
    ['whose segment is cut', $void . 'a segment that it names is',
     sub { truncate "$_[1]/c0.1.seg", 300 }]);
my @ids = map { main::sealed() } @cases;

nginx_stop('KILL');

for my $i (0 .. $#cases) {
    my $dir = BatchDamage::dir_of($ids[$i]);

    BatchDamage::heal($ids[$i]);
    $cases[$i][2]->("$dir/c0.1.seal", $dir);
}

BatchDamage::heal($foreign);
mock_reset();
ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'and is ready');

for my $i (0 .. $#cases) {
    my ($name, $log) = @{ $cases[$i] };

    BatchDamage::whole("row 68: seal, $name", $ids[$i], 20, 'half-');
    BatchDamage::alert("row 68: seal, $name",
                       ref $log ? qr/\[alert\].*$log/
                                : qr/\[alert\].*batch:? \Q$ids[$i]\E[,:] \Q$log/);
}

BatchDamage::whole('row 68: what was copied from', $foreign, 20, 'other-');
BatchDamage::outside();
cmp_ok(length error_log_text(), '<', 4 << 20, 'alerts, but not without end');
--- no_error_log
[emerg]
runtime error:
--- no_shutdown_error_log
open socket


=== TEST 2: row 68: a segment that no seal names yet
What was durable before something else was written is missed; what a crash may
have left of the last group is not.
--- concurrency
300
--- flow
my ($foreign, $other) = main::grouped(prefix => 'other-');
my $damaged = 'chunk 1: segment of epoch 1 is damaged at byte ';
my @cases = (
    ['a bit of the first header', $damaged . '0,',
     sub { BatchDamage::flip($_[0], 20) }],
    ['a bit of the first payload', $damaged . '0,',
     sub { BatchDamage::flip($_[0], 100) }],
    ['a huge length', $damaged . '0,', sub {
        my $s = slurp($_[0]);
        substr($s, 4, 4) = "\xff\xff\xff\x7f";
        BatchDamage::bytes($_[0], $s) }],
    ['NUL bytes', $damaged . '0,', sub {
        my $s = slurp($_[0]);
        substr($s, 10, 300) = "\0" x 300;
        BatchDamage::bytes($_[0], $s) }],
    ['a bit of the last payload', undef,
     sub { BatchDamage::flip($_[0], (-s $_[0]) - 2) }],
    ['torn', undef, sub { truncate $_[0], (-s $_[0]) - 5 }],
    ['torn in the header', undef,
     sub { truncate $_[0], (BatchDamage::groups($_[0]))[-1] + 30 }],
    ['NUL bytes behind it', undef,
     sub { BatchDamage::bytes($_[0], slurp($_[0]) . "\0" x 5000) }],
    ['another\'s', 'chunk 1: segment of epoch 1 has a record of another'
                   . ' batch, chunk or epoch at byte 0,',
     sub { BatchDamage::bytes($_[0], slurp($other)) }],
    ['another\'s behind its own', 'chunk 1: segment of epoch 1 has a record of another'
                               . ' batch,',
     sub { BatchDamage::bytes($_[0], slurp($_[0]) . slurp($other)) }],
    ['of another chunk', 'chunk 1: segment of epoch 1 has a record of another batch, chunk',
     sub { BatchDamage::bytes($_[0], slurp("$_[1]/c0.1.seg")) }],
    ['of another epoch', 'chunk 1: segment of epoch 7 has a record of another batch, chunk',
     sub { rename $_[0], "$_[1]/c1.7.seg" }]);
my @mine = map { [main::grouped()] } @cases;

nginx_stop('KILL');

for my $i (0 .. $#cases) {
    my ($id, $segment) = @{ $mine[$i] };

    BatchDamage::heal($id);
    $cases[$i][2]->($segment, BatchDamage::dir_of($id));
}

BatchDamage::heal($foreign);
ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'and is ready');

for my $i (0 .. $#cases) {
    my ($name, $log) = @{ $cases[$i] };
    my $id = $mine[$i][0];

    BatchDamage::whole("row 68: segment, $name", $id, 20, 'half-');

    if ($log) {
        BatchDamage::alert("row 68: segment, $name",
                           qr/\[alert\].*batch: $id, \Q$log/);

    } else {
        unlike(error_log_text(), qr/\[alert\].*$id/,
               "row 68: segment, $name: no alert");
    }
}

BatchDamage::whole('row 68: what was copied from', $foreign, 20, 'other-');
--- no_error_log
[emerg]
runtime error:
--- no_shutdown_error_log
open socket
