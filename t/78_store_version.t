# The store says which format it has: a module that does not know the format
# refuses it with both numbers and what to do, and does not touch it; a store
# that was made before there was such a file gets it, and nothing else changes.

BEGIN {
    if ($> == 0 && !$ENV{BATCH_OWN_MOUNTS}
        && system('unshare -m true 2>/dev/null') == 0)
    {
        $ENV{BATCH_OWN_MOUNTS} = 1;
        exec 'unshare', '-m', $^X, (map { "-I$_" } @INC), $0;
    }
}

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

our $File = store_dir() . '/version';
our $Whole = '{"v":1,"format":1,"crc":"a910b158"}';

sub crc {
    my $c = 0xffffffff;

    for my $byte (unpack 'C*', $_[0]) {
        $c ^= $byte;
        $c = $c & 1 ? $c >> 1 ^ 0x82f63b78 : $c >> 1 for 1 .. 8;
    }

    return sprintf '%08x', $c ^ 0xffffffff;
}

sub version {
    my ($text) = @_;
    my $crc = crc(substr $text, 0, -1);

    open my $out, '>', $File or die "$File: $!";
    print $out $text =~ s/\}$/,"crc":"$crc"}/r;
    close $out;
}

# what nginx -t says, and its status

sub check {
    my $root = test_dir() . '/servroot';
    my $said = `$ENV{TEST_NGINX_BINARY} -t -p $root/ -c conf/nginx.conf 2>&1`;

    return ($?, $said);
}

sub refused {
    my ($name, $expected) = @_;
    my ($rc, $said) = check();

    Test::More::isnt($rc, 0, "$name: refused");
    Test::More::like($said, $expected, "$name: says what to do");
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: a new store, and a store of a module that had no version
--- flow
is(slurp($main::File), $main::Whole, 'a new store has it');
is((stat $main::File)[2] & 07777, 0600, 'for the workers only');
is((stat $main::File)[4], (stat store_dir())[4], 'whom it belongs to');
is(scalar(glob(store_dir() . '/tmp/*')), undef, 'nothing is left in tmp');

my $b = run_batch(jsonl(2));
my $inode = (stat $main::File)[1];

is($b->{status}, 'completed', 'a batch runs');
kill 'HUP', nginx_pid();
wait_ready();
is((stat $main::File)[1], $inode, 'a reload leaves it');

ok(nginx_stop(), 'stops');
unlink $main::File;
ok(nginx_start(), 'an old store is taken');
ok(wait_ready(), 'and is ready');
is(slurp($main::File), $main::Whole, 'and has it now');
is_deeply(get_batch($b->{id}), $b, 'what it holds is as it was');


=== TEST 2: a store that a newer module has used, or one that is too old
--- flow
my $b = run_batch(jsonl(1));
my $workers = store_dir() . '/workers';

main::version('{"v":1,"format":2,"more":[{"x":1}]}');
main::refused('newer', qr/\[emerg\].*has format 2, this module reads format 1:/);
main::refused('newer', qr/store "\Q${\store_dir()}\E" has.*a newer module/);

# a running nginx keeps what it has

kill 'HUP', nginx_pid();
ok(wait_until(sub { error_log_text() =~ /has format 2/ }), 'so is a reload');
is_deeply(get_batch($b->{id}), $b, 'the old workers answer');
is(run_batch(jsonl(1))->{status}, 'completed', 'and work');

ok(nginx_stop(), 'stops');
rename $workers, "$workers.away" or die "$workers: $!";
ok(!nginx_start(), 'does not start');
ok(!-e $workers, 'a store that is refused is not touched');
rename "$workers.away", $workers or die "$workers: $!";

main::version('{"v":1,"format":0}');
main::refused('older', qr/has format 0, this module reads format 1:.*too old/);

main::version('{"v":3,"format":1,"more":[{"x":1}]}');
ok(nginx_start(), 'what a newer module adds to the file does not matter');
ok(wait_ready(), 'and is ready');
is_deeply(get_batch($b->{id}), $b, 'nothing is lost');
--- no_error_log
[alert]
exited on signal


=== TEST 3: a file that is damaged
--- flow
my %damage = (
    'edited' => sub { my $s = $main::Whole; $s =~ s/format":1/format":2/; $s },
    'empty' => sub { '' },
    'cut' => sub { substr $main::Whole, 0, 20 },
    'without its checksum' => sub { '{"v":1,"format":1}' },
    'no JSON' => sub { "\0" x 40 },
    'huge' => sub { ' ' x 10000 });

ok(nginx_stop(), 'stops');

for my $name (sort keys %damage) {
    open my $out, '>', $main::File or die "$main::File: $!";
    print $out $damage{$name}->();
    close $out;

    main::refused($name, qr/\[emerg\].*the file "version" is damaged,.*restore/);
}

unlink $main::File;
symlink '/etc/passwd', $main::File;
main::refused('a link', qr/\[emerg\].*the file "version" is damaged/);

unlink $main::File;
mkdir $main::File;
main::refused('a directory', qr/\[emerg\].*the file "version" is damaged/);
rmdir $main::File;

ok(nginx_start(), 'removed: starts');
is(slurp($main::File), $main::Whole, 'and it is there again');
--- no_error_log
exited on signal
--- no_shutdown_error_log
exited on signal


=== TEST 4: a store that cannot be written
--- flow
SKIP: {
    skip('no mounts of our own here (it needs root)', 6)
        unless $ENV{BATCH_OWN_MOUNTS};

    my $dir = store_dir();

    ok(nginx_stop(), 'stops');
    unlink $main::File;

    system("mount --bind $dir $dir && mount -o remount,bind,ro $dir") == 0
        or die 'mount';

    my ($rc, $said) = main::check();

    system("umount $dir");

    is($rc, 0, 'nginx -t takes it');
    like($said, qr/\[warn\].*cannot write the file "version".*Read-only/,
         'and says so');
    ok(!-e $main::File, 'without it');
    ok(nginx_start(), 'starts when it can be written');
    is(slurp($main::File), $main::Whole, 'and has it then');
}
--- no_error_log
[alert]
[emerg]
exited on signal
