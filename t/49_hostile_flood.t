use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchHostile;
use Test::Nginx::Socket 'no_plan';

# Row 32 of the list of hostile inputs: more connections than there are.

worker_connections(256);

# A crowd of processes, since each connection is a file here, too.  Each has its
# own source address, or there would not be ports enough.

our $each = qx(sh -c 'ulimit -n') =~ /^(\d+)/ && $1 < 700 ? $1 - 200 : 500;


sub flood {
    my ($bytes, $n) = @_;
    my @crowd;

    for my $i (1 .. POSIX::ceil($n / $each)) {
        socketpair(my $ours, my $theirs, Socket::AF_UNIX,
                   Socket::SOCK_STREAM, 0) or die "socketpair: $!\n";

        my $pid = fork() // die "fork: $!\n";

        if ($pid == 0) {
            close $ours;
            close $_->[1] for @crowd;
            $SIG{PIPE} = 'IGNORE';
            eval { one_of_many($theirs, "127.0.1.$i", $bytes) };
            POSIX::_exit($@ ? 1 : 0);
        }

        push @crowd, [$pid, $ours];
    }

    return @crowd;
}


# Connects, tells when all have tried, and then on each question how many of
# them were refused or closed; hangs up when nobody is there to ask.

sub one_of_many {
    my ($ask, $from, $bytes) = @_;
    my (@open, $none);

    for (1 .. $each) {
        my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                      PeerPort => server_port(),
                                      LocalAddr => $from);
        $s ? push @open, $s : $none++;
        syswrite $s, $bytes if $s;
    }

    syswrite $ask, "there\n";

    while (sysread $ask, my $q, 1) {
        my $bits = '';
        vec($bits, fileno $_, 1) = 1 for @open;
        my $n = @open ? select $bits, undef, undef, 0 : 0;
        syswrite $ask, $n + ($none // 0) . "\n";
    }

    for (0 .. $#open) {
        setsockopt($open[$_], Socket::SOL_SOCKET(), Socket::SO_LINGER(),
                   pack('II', 1, 0)) if $_ & 1;
        close $open[$_];
    }
}


sub ask {
    my ($one) = @_;
    syswrite $one->[1], '?';
    return told($one);
}


sub told {
    my ($one) = @_;
    my $in = '';

    until ($in =~ /\n/) {
        sysread $one->[1], $in, 64, length $in or die "one has gone\n";
    }

    chomp $in;
    return $in;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: row 32: ten thousand clients with one byte each
--- concurrency
4
--- api_config
client_body_buffer_size 16k;
--- error_log
[alert]
--- no_error_log
[crit]
[emerg]
exited on signal
runtime error:
--- no_shutdown_error_log
open socket
exited on signal
runtime error:
--- flow
my $data = jsonl(3000);
my $body = form('b0undary', ['purpose', 'vision'], ['file', $data, 'a']);
my $upload = raw_request('POST', '/v1/files', $body, 'Content-Type' =>
                         'multipart/form-data; boundary=b0undary');
my $file = upload(jsonl(100000))->{json}{id};
my $before = content($file);

my $w = watch(keys => qr/:(b|c|l|bl|active)\b/,
              log => qr/\d+ worker_connections are not enough/);

for my $what (['one byte', 10000, 'P'],
              ['headers', 1000, substr $upload, 0, 150],
              ['half an upload', 1000, substr $upload, 0, 40000])
{
    my ($name, $all, $bytes) = @$what;
    # what there is already: half an upload, half a download, lines under way

    my $up = BatchRaw->new;
    my $half = int(length($upload) / 2);
    $up->send(substr $upload, 0, $half);

    my $down = BatchRaw->new;
    $down->send(raw_request('GET', "/v1/files/$file/content"));
    $down->fill;

    my $f = upload(jsonl(60, mock => 'slow=100'))->{json}{id};
    my $batch = create_batch($f)->{json}{id};
    wait_batch($batch, until => qr/in_progress/);

    my @crowd = main::flood($bytes, $all);
    is(join(' ', map { main::told($_) } @crowd),
       join(' ', ('there') x @crowd), "row 32: $name: $all have tried");

    # nginx has closed those that it has no room for

    my $n;
    ok(wait_until(sub {
        $n = 0;
        $n += main::ask($_) for @crowd;
        return $n > $all - 2 * 256;
    }, 60), "row 32: $name: refused beyond the limit") or diag("$n refused");

    # the rest of what was there goes on while they are

    $up->send(substr $upload, $half);
    my $r = $up->answer;
    is($r->{status}, 200, "row 32: $name: an upload under way");
    is($r->{json}{bytes}, length $data, "row 32: $name: all of it");

    ok($down->answer->{body} eq $before, "row 32: $name: a download under way");

    # they hang up

    close $_->[1] for @crowd;
    waitpid $_->[0], 0 for @crowd;

    my $b = wait_batch($batch, timeout => 60);

    is($b->{status}, 'completed', "row 32: $name: a batch under way");
    is($b->{request_counts}{completed}, 60, "row 32: $name: all its lines");

    ok(BatchRaw->new->alive, "row 32: $name: and it serves on");

    for my $id ($r->{json}{id}, $f, $b->{output_file_id}) {
        is(http('DELETE', "/v1/files/$id")->{status}, 200, 'deleted');
    }

    close $_->{s} for $up, $down;
}

$w->leftovers('row 32');
