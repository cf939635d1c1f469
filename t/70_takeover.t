# Who takes over what a dead, or a sleeping, worker holds.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

# A worker that has lines is stopped until its leases have run out, and what was
# its has been done by the other one.  Then it goes on.

sub sleeper {
    my ($meanwhile) = @_;
    my $n = 120;
    my $f = upload(jsonl($n, mock => 'slow=100'));
    my $b = create_batch($f->{json}{id})->{json};

    my $sleeper;
    Test::More::ok(wait_until(sub {
        my $s = api('GET', '/batch-status')->{json};
        ($sleeper) = map { $_->{pid} }
                     grep { $_->{inflight} && $_->{chunks}
                            && $_->{pid} != $s->{pid} } @{ $s->{processes} };
        return $sleeper;
    }, 20), 'one that has lines');

    kill 'STOP', $sleeper;
    Test::More::ok(wait_until(sub {
        slurp("/proc/$sleeper/stat") =~ /^\d+ \(.*\) T/ }, 10), 'it sleeps');

    $meanwhile->();

    my $process = sub {
        my $s = api('GET', '/batch-status')->{json};
        return (grep { $_->{pid} == $sleeper } @{ $s->{processes} })[0];
    };
    my $attempts = $process->()->{attempts};

    my $end = wait_batch($b->{id}, timeout => 60);
    Test::More::is($end->{status}, 'completed', 'the other one has done it'
                   . ' all, even if all of the limit was in the hands of the sleeper');
    Test::More::is($end->{request_counts}{completed}, $n, 'all lines');

    kill 'CONT', $sleeper;
    Test::More::ok(wait_until(sub { !$process->()->{chunks} }, 30),
                   'it has given up what it held');
    Test::More::is($process->()->{attempts}, $attempts,
                   'and has sent nothing for it');
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: a worker's death is not forgotten when those who saw it die, too
--- concurrency
8
--- flow
my $f = upload(jsonl(40, mock => 'hang'));
my $b = create_batch($f->{json}{id})->{json};

my $pids = sub {
    my $s = api('GET', '/batch-status', undef, timeout => 5)->{json};
    return ref $s eq 'HASH' ? { map { $_->{pid} => $_ } @{ $s->{processes} } }
                            : {};
};

ok(wait_until(sub {
    my $p = $pids->();
    return keys %$p == 2 && grep { $_->{inflight} } values %$p;
}, 20), 'lines are under way');

# what they see now they cannot tell

my ($first) = keys %{ $pids->() };
kill 'STOP', $BatchTest::RedisPid;
kill 'KILL', $first;

ok(wait_until(sub {
    my $p = $pids->();
    return keys %$p == 2 && !$p->{$first};
}, 20), 'one has died, and was seen to be dead');

my %killed = map { $_ => 1 } nginx_workers();
is(scalar keys %killed, 2, 'two workers');
kill 'KILL', keys %killed;

ok(wait_until(sub {
    my $p = $pids->();
    return keys %$p == 2 && !grep { $killed{$_} } keys %$p;
}, 20), 'all have died');

kill 'CONT', $BatchTest::RedisPid;

my %told;
ok(wait_until(sub {
    %told = map { $_ => 1 } error_log_text() =~ /worker (\w+) has died/g;
    return keys %told >= 3;
}, 30), 'each death is told');
is(scalar keys %told, 3, 'and no other one');

is(cancel_batch($b->{id})->{status}, 200, 'cancel');
is(wait_batch($b->{id})->{status}, 'cancelled', 'cancelled');
--- no_error_log
[crit]
[emerg]
runtime error:


=== TEST 2: a worker that has slept longer than its lease sends nothing anew
--- concurrency
8
--- flow
main::sleeper(sub { });


=== TEST 3: nor does one that wakes up without its link to Redis
--- concurrency
8
--- flow
# Redis is there all the time, and the other worker knows

main::sleeper(sub { redis('CLIENT', 'KILL', 'TYPE', 'normal') });
