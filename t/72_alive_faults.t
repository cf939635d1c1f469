# The files that say who lives cannot be made, locked, read or deleted: nginx
# goes on, nobody is taken for dead, and what is left is done later.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchAlive;
use BatchFault;
use Test::Nginx::Socket 'no_plan';

Test::Nginx::Util::add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(no_error_log => "[emerg]\nruntime error:\n");
    $block->set_value(no_shutdown_error_log => "[emerg]\nruntime error:\n");
});

our $Warning = qr/\[warn\] .*batch: (\S+) failed, so this worker has no file/;

sub warnings { return scalar(() = error_log_text() =~ /$Warning/g) }

# an idle worker dies, and its successor begins

sub successor {
    my ($what) = @_;
    my %before = map { $_ => 1 } nginx_workers();
    my ($victim) = keys %before;

    kill 'KILL', $victim;
    Test::More::ok(wait_until(sub {
        my $s = api('GET', '/batch-status', undef, timeout => 5)->{json};
        return ref $s && @{ $s->{processes} } == 2
               && grep { !$before{$_->{pid}} } @{ $s->{processes} };
    }, 30), "$what: another one begins");
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: a worker cannot have a file
--- flow
my @calls = (['openat', 1, 'EMFILE'], ['pwrite', 2, 'ENOSPC'],
             ['renameat', 3, 'EROFS']);

for (@calls) {
    my ($call, $n, $errno) = @$_;

    fault(n => $n, errno => $errno);
    main::successor($call);
    ok(fault_off(), "$call: it fails");
    like(fault_name(), qr/^$call/, "$call: it is that call");
    is(scalar(() = error_log_text() =~ /\Q$call\E\(\) failed, so this worker/g),
       1, "$call: told");
    is_deeply([leftovers('tmp')], [], "$call: nothing is left in tmp/");
    ok(wait_until(sub { 1 == (my @l = entries()) }, 30),
       "$call: the other one has a file");

    # the one that has none dies; so does the other one, to be as before

    kill 'KILL', nginx_workers();
    ok(wait_until(sub { 2 == (my @l = entries()) }, 30), 'two again');
    wait_ready();
}

fault(n => 1, action => 'short');
main::successor('short');
ok(fault_off(), 'short: a half is written');
ok(wait_until(sub { 1 == (my @l = entries()) }, 30), 'short: it has no file');
is(run_batch(jsonl(3))->{status}, 'completed', 'a batch');


=== TEST 2: a filesystem without locks
--- flow
my $dead = decoy();
fault(class => 'workers', n => 1, errno => 'ENOLCK', sticky => 1);
my $b = run_batch(jsonl(3));
is($b->{status}, 'completed', 'a batch');
my $n = fault_count();
ok(wait_until(sub { fault_count() > $n + 5 }, 30), 'looks fail');
ok(-e entry($dead), 'who cannot be looked at is not dead');
fault_off();
ok(wait_until(sub { !-e entry($dead) }, 30), 'now it is');

# from the beginning: one warning each, then nothing more

nginx_stop('QUIT');
my $warnings = main::warnings();
fault(class => 'workers', n => 1, errno => 'ENOLCK', sticky => 1);
ok(nginx_start(), 'nginx starts');
wait_ready();
is(main::warnings() - $warnings, 2, 'each worker warns');
is_deeply([entries()], [], 'and has no file');
is(run_batch(jsonl(3))->{status}, 'completed', 'a batch');
fault_off();


=== TEST 3: each call of a look fails once
--- flow
my @own = entries();

for my $n (1 .. 14) {
    my $dead = decoy();
    fault(class => 'workers', n => $n, errno => 'EMFILE');
    ok(wait_until(sub { !-e entry($dead) }, 60), "call $n: it is buried");
    fault_off();
}

# a killed one in the middle of a burial: the others do it

for my $n (1 .. 14) {
    my $dead = decoy();
    fault(class => 'workers', n => $n, action => 'kill_after');
    ok(wait_until(sub { !-e entry($dead) }, 60), "death at $n: it is buried");
    fault_off();
    wait_ready();
}

ok(wait_until(sub {
    my @now = entries();
    return @now == 2;
}, 60), 'the dead have been buried, two live');

