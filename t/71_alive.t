# Dead workers that nobody saw die: all of an nginx at once, or the orphans of a
# killed master.  What they held is taken over, it does not have to run out.

use lib 't/lib';
use BatchTest;
use BatchAlive;
use BatchNode;
use Fcntl qw(:flock);
use POSIX ();
use Test::Nginx::Socket 'no_plan';

# a killed worker is an alert of nginx's

Test::Nginx::Util::add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(no_error_log => "[crit]\n[emerg]\nruntime error:\n");
    $block->set_value(no_shutdown_error_log => "[crit]\n[emerg]\n");
});

sub batch_of {
    my ($n, $mock) = @_;

    return create_batch(upload(jsonl($n, mock => $mock))->{json}{id})->{json};
}

sub each_once {
    my ($b, $n) = @_;

    Test::More::is($b->{status}, 'completed', 'completed');
    Test::More::is_deeply([map { $_->{custom_id} } output_lines($b)],
                          [map { "req-$_" } 1 .. $n], 'each line once');
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: all of an nginx is killed, and it is started again
--- concurrency
8
--- flow
my $b = main::batch_of(24, 'slow=700');
ok(wait_until(sub { mock_stats()->{answered} >= 2 }, 20), 'it runs');

my @dead = entries();
is(scalar @dead, 2, 'each worker has a file');
nginx_stop('KILL');
ok(refresh(@dead), 'they hold something');
is_deeply([entries()], \@dead, 'the files are there');

ok(nginx_start(), 'started again');
died_all('all of it', \@dead);
my @new = entries();
is(scalar @new, 2, 'the new ones have files');
main::each_once(wait_batch($b->{id}, timeout => 60), 24);
is_deeply([sort keys %{ told() }], \@dead, 'no other one was dead');


=== TEST 2: orphans live on, beside another nginx, until they are killed
--- concurrency
8
--- flow
my $b = main::batch_of(40, 'slow=900');
ok(wait_until(sub { mock_stats()->{answered} >= 2 }, 20), 'it runs');

my $two = BatchNode->start('two');
my @own = entries();
is(scalar @own, 4, 'two workers each');

my @orphans = nginx_workers();
my $master = nginx_pid();
kill 'KILL', $master;
ok(wait_until(sub { !BatchTest::runs($master) }, 20), 'the master is gone');

my $log = sub { $two->log . error_log_text() };

looked();
ok(!grep({ !/^0{24}dead/ } keys %{ told($log->()) }), 'nobody is dead');
is_deeply([entries()], \@own, 'all have their files');

# one that sleeps is not dead

kill 'STOP', @orphans;
looked();
kill 'CONT', @orphans;
is_deeply([entries()], \@own, 'also those who sleep');

main::each_once(wait_batch($b->{id}, timeout => 60), 40);
is(mock_stats()->{requests}, 40, 'no line was sent twice');

# a batch that is theirs, and then they die, one after the other

ok($two->stop('QUIT'), 'the other one has gone in an orderly way');
my @left = entries();
is(scalar @left, 2, 'it has taken its files away');

$b = main::batch_of(24, 'slow=900');
ok(wait_until(sub { keys %{ holders() } }, 20), 'they hold it');

undef $two;                     # its end would be the next one's
$two = BatchNode->start('two');
$log = sub { $two->log };
looked();
is_deeply([grep { $log->() =~ /$_ has died/ } @left], [], 'they live');

kill 'KILL', shift @orphans;
ok(wait_until(sub {
    refresh(@left);
    return 1 == grep { !-e entry($_) } @left;
}, 30), 'one is dead, and buried');

kill 'KILL', @orphans;
died_all('orphans', \@left, sub { $log->() . error_log_text() });
like($log->(), qr/worker $left[0] has died|worker $left[1] has died/,
     'the last one was found by the other nginx');

# the first one's port is free again

unlink BatchTest::test_dir() . '/servroot/logs/nginx.pid';
ok(nginx_start(), 'the first one is back');
main::each_once(wait_batch($b->{id}, timeout => 60), 24);
ok($two->stop('QUIT'), 'the other one ends');
my @last = entries();
is(scalar @last, 2, 'and takes its files away');


=== TEST 3: who leaves takes its file away, unless others have to take over
--- concurrency
8
--- flow
my @first = entries();
kill 'HUP', nginx_pid();
ok(wait_until(sub {
    my %now = map { $_ => 1 } entries();
    return keys %now == 2 && !grep { $now{$_} } @first;
}, 30), 'a reload: new ones, and the old ones have gone');

ok(nginx_stop('QUIT'), 'quit');
is_deeply([entries()], [], 'nothing is left');
ok(nginx_start(), 'start');
wait_ready();
ok(nginx_stop('TERM'), 'stop, with nothing to do');
is_deeply([entries()], [], 'nothing is left');
is_deeply(told(), {}, 'and nobody has died');

ok(nginx_start(), 'start');
wait_ready();
my $b = main::batch_of(16, 'slow=700');
ok(wait_until(sub { mock_stats()->{inflight} >= 8 }, 20), 'it runs');
ok(nginx_stop('TERM'), 'stop, with lines under way');

# looked at now: until the stop a second worker may still have claimed something

my @holders = sort keys %{ holders() };
is_deeply([entries()], \@holders, 'a worker that held something leaves its file');
ok(refresh(@holders), 'it was not given back');
ok(nginx_start(), 'start');
died_all('stopped', \@holders);
main::each_once(wait_batch($b->{id}, timeout => 60), 16);

# a worker alone that is told to stop at once, and its siblings

$b = main::batch_of(16, 'slow=700');
ok(wait_until(sub { mock_stats()->{inflight} >= 8 }, 20), 'it runs');
@holders = sort keys %{ holders() };
kill 'TERM', nginx_workers();
died_all('stopped alone', \@holders);
main::each_once(wait_batch($b->{id}, timeout => 60), 16);


=== TEST 4: what else is in the folder
--- flow
my $dir = store_dir() . '/workers';
my $machine = slurp(entry((entries())[0]));
my $elsewhere = '00000000-0000-0000-0000-000000000000 1';
my $name = sub { sprintf '%032x', 0xbeef00 + $_[0] };

like($machine, qr/^[0-9a-f-]{36} [0-9a-f]+$/, 'a machine');

# nobody knows whether locks come from there

my $foreign = decoy($elsewhere);
my $old = decoy($elsewhere);
my $empty = decoy('');
utime time - 3 * 86400, time - 3 * 86400, entry($old);

# a link to what is dead; what would make an open() wait

open my $f, '>', test_dir() . '/dead' or die;
print $f $machine;
close $f;
symlink test_dir() . '/dead', entry($name->(1)) or die;
POSIX::mkfifo(entry($name->(2)), 0666) or die;
mkdir entry($name->(3)) or die;

for my $n ('README', '.hidden', uc($name->(0xa)), substr($name->(4), 1),
           $name->(5) . '0', $name->(6) . '.tmp')
{
    open $f, '>', "$dir/$n" or die;
    print $f $machine;
    close $f;
}

chmod 0644, glob "$dir/*[eEpP0-9A-F]";
my @before = sort grep { !/$old$/ } glob "$dir/* $dir/.h*";

looked();
ok(wait_until(sub { !-e entry($old) }, 30), 'what is old is taken away');
is_deeply([sort glob "$dir/* $dir/.h*"], \@before, 'the rest is left alone');
ok(!told()->{$old}, 'it is not told to be dead');
ok(!told()->{$foreign}, 'nor is what is from elsewhere');

# until a lock from there was met

my $locked = decoy($elsewhere);
open my $lock, '<', entry($locked) or die;
flock $lock, LOCK_EX or die;
looked();
ok(wait_until(sub { !-e entry($foreign) }, 60), 'now it is believed');
ok(-e entry($locked), 'who holds a lock is not dead');
ok(told()->{$foreign}, 'told');
close $lock;
ok(wait_until(sub { !-e entry($locked) }, 60), 'and then it is');

my $b = run_batch(jsonl(3));
is($b->{status}, 'completed', 'a batch goes as ever');


=== TEST 5: more batches than a worker sees at once
--- concurrency
300
--- flow
my $f = upload(jsonl(1, mock => 'slow=3000'))->{json}{id};
my @ids = map { create_batch($f)->{json}{id} } 1 .. 160;
my $n;
ok(wait_until(sub {
    my $h = holders();
    $n = 0;
    $n += $_ for values %$h;
    return $n > 20;
}, 30), 'many are under way');

my @dead = entries();
nginx_stop('KILL');
ok(refresh(@dead), 'and are held');
ok(nginx_start(), 'started again');
died_all('many', \@dead);

my @bad = grep { wait_batch($_, timeout => 60)->{status} ne 'completed' } @ids;
is_deeply(\@bad, [], 'all are completed');
