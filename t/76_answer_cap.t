# Row 62 of the list of hostile inputs: an answer that is larger than what is
# kept of one, 1 GiB less 1 MiB, is an error line, and costs neither memory nor
# disk.

use lib 't/lib';
use BatchTest;
use BatchHostile;
use BatchStream;
use Test::Nginx::Socket 'no_plan';

our $Asan = ($ENV{TEST_NGINX_BINARY} // '') =~ /asan/;
our $Cap = (1 << 30) - (1 << 20);
our $Stream = BatchStream->start(test_dir() . '/stream.sock');

END { $Stream->stop if $Stream }


# ["name", "kind", bytes]: lines, and a good one behind each

sub lines {
    return join '', map {
        my ($name, $kind, $n) = @$_;
        qq({"custom_id":"$name","method":"POST","url":"/v1/chat/completions",)
        . qq("body":{"model":"m","messages":[],"answer":["$kind",$n]}}\n)
        . qq({"custom_id":"good-$name","method":"POST",)
        . qq("url":"/v1/chat/completions","body":{"model":"m","messages":[]}}\n)
    } @_;
}


# kB; the most that any worker has had since the last call of memory_mark()

sub memory_mark {
    for my $pid (nginx_workers()) {
        open my $f, '>', "/proc/$pid/clear_refs" or die "clear_refs: $!\n";
        syswrite $f, '5';
    }

    return memory('VmRSS');
}


sub memory {
    my ($which) = @_;
    my $most = 0;

    for my $pid (nginx_workers()) {
        my ($kb) = slurp("/proc/$pid/status") =~ /^$which:\s+(\d+)/m;
        $most = $kb if $kb > $most;
    }

    return $most;
}


# bytes of the store on the disk, with files that have no name any more

sub used {
    my $dir = store_dir();
    my $n = 0;

    for my $pid (nginx_workers()) {
        $n += (stat)[12] * 512
            for grep { (readlink // '') =~ m{^\Q$dir\E/.* \(deleted\)$} }
                glob "/proc/$pid/fd/*";
    }

    return $n + 1024 * (split ' ', `du -sk $dir`)[0];
}


sub beyond {
    my (@rows) = @_;
    my $w = watch(keys => qr/^\{batch\}:((f|fl|b|bl|u[a-z]):|fx$)/);
    my $rss = memory_mark();
    my $used = used();

    unlink "$Stream->{path}.sent";

    my $b = run_batch(lines(@rows), timeout => 120);

    Test::More::is($b->{status}, 'completed', 'completed')
        or Test::More::diag(json_encode($b));

    my $good = by_id(output_lines($b));
    my $bad = by_id(error_lines($b));

    Test::More::is(join(' ', sort keys %$good),
                   join(' ', sort map { "good-$_->[0]" } @rows),
                   'the lines beside them have their answers, and no other');

    for my $row (@rows) {
        my $e = $bad->{$row->[0]};
        Test::More::is($e->{error}{code}, 'upstream_invalid_response',
                       "$row->[0]: an error");
        Test::More::like($e->{error}{message}, qr/larger than the \d+ bytes/,
                         "$row->[0]: and why");
        Test::More::ok(!defined $e->{response}, "$row->[0]: no response");
    }

    Test::More::cmp_ok(memory('VmHWM') - $rss, '<', $Asan ? 131072 : 32768,
                       'the memory of a worker');
    Test::More::ok(wait_until(sub { used() < $used + (1 << 20) }, 30),
                   'the disk has its space back');
    $w->leftovers('row 62');

    # each was asked for once: another attempt would bring the same

    my @sent = $Stream->sent;
    Test::More::is(scalar @sent, scalar @rows, 'one attempt each');
    return @sent;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: row 62: an announced length beyond the cap
--- api_config
    batch_pass /stream;
    batch_retries 2;
--- server_extra
    location /stream/ {
        internal;
        proxy_pass http://unix:$TEST_NGINX_BATCH_DIR/stream.sock:/;
        proxy_http_version 1.1;
    }
--- flow
my @sent = main::beyond(['one byte', 'length', $main::Cap + 1],
                        ['many', 'length', 1 << 40]);

# what sockets hold, and no more

cmp_ok($_->[1], '<', 32 << 20, 'refused with its header') for @sent;


=== TEST 2: row 62: a body beyond the cap
--- api_config
    batch_pass /stream;
    batch_retries 2;
--- server_extra
    location /stream/ {
        internal;
        proxy_pass http://unix:$TEST_NGINX_BATCH_DIR/stream.sock:/;
        proxy_http_version 1.1;
    }
--- flow
SKIP: {
    my ($room) = `df -Pk $BatchTest::Dir` =~ /(\d+)\s+\d+%/;

    Test::More::skip('1 GB, in the stage nginx only', 1) if $main::Asan;
    Test::More::skip('no 3 GB on the disk', 1) if $room < 3 << 20;

    my @sent = main::beyond(['text', 'chunked', 1200 << 20],
                            ['blanks', 'blank', 1200 << 20]);

    for my $s (@sent) {
        cmp_ok($s->[1], '>', $main::Cap - (1 << 20), "$s->[0]: up to the cap");
        cmp_ok($s->[1], '<', 1100 << 20, "$s->[0]: and not to its end");
    }
}
