use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchHostile;
use IO::Socket::UNIX;
use Test::Nginx::Socket 'no_plan';

# Rows 57 to 60 of the list of hostile inputs: ids, cancels, deletes, ranges.
# Ids of another tenant: t/53_tenants.t.

our %unknown = (files => 'file-' . 'a' x 22, batches => 'batch_' . '0' x 32,
                uploads => 'upload_' . '0' x 32);


# Every call that takes an id.

our @calls = (['GET', 'files', ''], ['HEAD', 'files', ''],
              ['DELETE', 'files', ''], ['GET', 'files', '/content'],
              ['HEAD', 'files', '/content'],
              ['GET', 'batches', ''], ['POST', 'batches', '/cancel', ''],
              ['GET', 'uploads', ''], ['POST', 'uploads', '/cancel', ''],
              ['POST', 'uploads', '/complete', '{"part_ids":["part_'
               . '0' x 32 . '"]}'],
              ['POST', 'uploads', '/parts',
               form('b0undary', ['data', 'x', 'a']),
               'Content-Type' => 'multipart/form-data; boundary=b0undary']);


# An answer without what may differ: the id, as far as it is shown, and the
# lengths that follow from it.

sub plain {
    my ($r, $id) = @_;
    my ($head, $body) = ($r->{raw_head}, $r->{body});

    # whether a body is read to its end is not the id's matter

    $head =~ s/^(Date|X-Request-Id|Content-Length|Connection): [^\r]*/$1/mg;

    $id = substr($id, 0, 128) . '...' if length $id > 128;
    $id =~ s/(["\\])/\\$1/g;
    $body =~ s/(: |')\Q$id\E/$1ID/;

    return "$head\r\n\r\n$body";
}


# What Redis is asked while the code runs.

sub monitored {
    my ($code) = @_;
    my $s = IO::Socket::UNIX->new(Peer => test_dir() . '/redis.sock');
    my @seen;

    print $s "MONITOR\r\n";
    $s->flush;
    die 'no MONITOR' unless <$s> =~ /^\+OK/;

    $code->();
    redis('PING', 'monitored-to-here');

    while (<$s>) {
        last if /monitored-to-here/;
        push @seen, $_;
    }

    return @seen;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: row 57: ids that are none
--- flow
my @ids = ('*', '{x}', '{batch}', 'x', '-', '_', '~', '"', '\\', '%00',
           '%2a', 'file-', 'batch_', 'file-*', 'file-' . 'a' x 21,
           'file-' . 'a' x 23, 'file-' . 'a' x 21 . '*',
           'file-' . 'a' x 21 . '_', 'FILE-' . 'a' x 22, 'file_' . 'a' x 22,
           'file-' . 'a' x 22 . '.json', 'batch_' . '0' x 31,
           'batch_' . '0' x 33, 'batch_' . '0' x 31 . 'g',
           'batch_' . 'A' x 32, 'Batch_' . '0' x 32, 'upload_' . '0' x 31 . '/',
           'upload_' . 'F' x 32, 'upload-' . '0' x 32, 'part_' . '0' x 32,
           'f' x 128, 'f' x 129, 'f' x 7000, '*' x 7000, '%66' x 2000,
           "\xff", "\xc3\xa9" x 60, 'a b', "a\tb", "a\x01b", 'a%0d%0ab',
           'null', 'undefined', "';DROP", '$(id)', '..%5c', ':', 'p%20gen',
           'file-' . 'a' x 22 . ':x', 'f{x}:file-' . 'a' x 10);
my (@cases, %like);

for my $call (@main::calls) {
    my ($method, $what, $action, @body) = @$call;
    my $r = BatchRaw->new->request($method,
                                   "/v1/$what/$main::unknown{$what}$action",
                                   shift @body, headers => [@body]);

    is($r->{status}, 404, "row 57: $method $what$action, unknown");
    $like{$call} = main::plain($r, $main::unknown{$what});

    for my $id (@ids) {
        my ($method, $what, $action, $body, @h) = @$call;
        my $shown = $id =~ s/[^ -~]/?/gr;

        $shown = substr($shown, 0, 30) . '...' if length $shown > 40;

        # nginx refuses some before anybody is asked

        my $own = $id =~ m{%00|[ \x00-\x1f]} || $id =~ m{/$};

        push @cases, { row => 57, name => "$method $what$action, $shown",
            request => [$method, "/v1/$what/$id$action", $body, @h],
            head => $method eq 'HEAD', split => length $id < 200,
            status => $id =~ m{%00|[ \x00-\x1f]} ? 400 : 404,
            $own ? () : (check => sub {
                my ($r) = @_;
                my $text = main::plain($r, $id);

                # '?' stands for bytes that are not UTF-8

                $text = main::plain($r, $id =~ s/\xff/?/gr)
                    unless $text eq $like{$call};

                return $text eq $like{$call} ? () : $text;
            }) };
    }
}

hostile('ids', @cases);

# beyond what nginx takes for a URL

for my $call (@main::calls) {
    my ($method, $what, $action) = @$call;
    my $r = http($method, "/v1/$what/" . 'f' x 10240 . $action);

    is($r->{status}, 414, "row 57: $method $what$action, 10 KB");
    is($r->{headers}{'content-type'}, 'application/json', 'row 57: JSON');
}



=== TEST 2: row 57: Redis is not asked for what cannot be an id
--- flow
my @ids = ('*', '{x}', 'file-' . 'a' x 21 . '*', 'file-' . 'a' x 33,
           'batch_' . '0' x 31 . '*', 'batch_' . '0' x 33,
           'upload_' . '0' x 31 . '}', 'f' x 5000);

my @seen = main::monitored(sub {
    for my $id (@ids) {
        for (@main::calls) {
            my ($method, $what, $action, @body) = @$_;
            my $r = BatchRaw->new->request($method, "/v1/$what/$id$action",
                                           shift @body, headers => [@body]);

            is($r->{status}, 404, "row 57: $method $what$action");
        }
    }
});

# the workers' own questions name keys that have no id

is(join('', grep { /\}:[fbclu]:[^"]/ || /file-|batch_|upload_|fff/ } @seen), '',
   'row 57: nothing of them');

@seen = main::monitored(sub {
    http('GET', "/v1/files/$main::unknown{files}");
    http('GET', "/v1/batches/$main::unknown{batches}");
});

is(scalar(grep { /EVALSHA.*\}:f:$main::unknown{files}/ } @seen), 1,
   'row 57: an id that could be one is looked up');
is(scalar(grep { /EVALSHA.*\}:b:$main::unknown{batches}/ } @seen), 1,
   'row 57: a batch, too');



=== TEST 3: row 58: cancel twice, too late, and many at once
--- concurrency
4
--- flow
my $f = upload(jsonl(40, mock => 'slow=300'))->{json}{id};
my $b = create_batch($f)->{json}{id};

wait_batch($b, until => qr/in_progress/);

# on ten connections at the same time

my @c = map { BatchRaw->new } 1 .. 10;
$_->send(raw_request('POST', "/v1/batches/$b/cancel", '')) for @c;

my @r = map { $_->answer } @c;

is(join(' ', map { $_->{status} } @r), join(' ', (200) x 10),
   'row 58: ten cancels, 200');

my %at = map { ($_->{json}{cancelling_at} // 'none') => 1 } @r;
is(scalar keys %at, 1, 'row 58: at one time');

my $end = wait_batch($b);
is($end->{status}, 'cancelled', 'row 58: cancelled');
is($end->{cancelling_at}, (keys %at)[0], 'row 58: at that time');

my $again = cancel_batch($b);
is($again->{status}, 200, 'row 58: cancelling what is cancelled');
is_deeply($again->{json}, $end, 'row 58: changes nothing');

# at any moment of a short life

srand 58;
my %seen;

for my $i (1 .. 25) {
    my $b = create_batch($f = upload(jsonl(2))->{json}{id})->{json}{id};

    select undef, undef, undef, rand(0.06) if $i > 5;

    my $r = cancel_batch($b);
    my $end = wait_batch($b);

    $seen{"$r->{status} $end->{status}"}++;

    if ($r->{status} == 200) {
        is($end->{status}, 'cancelled', 'row 58: what was answered 200 is');
        ok($end->{cancelled_at}, 'row 58: has its time');
        is($end->{$_}, $r->{json}{$_}, "row 58: $_ stays as it was")
            for qw(finalizing_at cancelling_at);

    } else {
        is($r->{status}, 409, 'row 58: or refused');
        is($end->{status}, 'completed', 'row 58: and completed');
        like($r->{json}{error}{message},
             qr/^Cannot cancel a batch with status '(finalizing|completed)'/,
             'row 58: wording');
        is($r->{headers}{'x-should-retry'}, 'false', 'row 58: for good');
        is($end->{cancelling_at}, undef, 'row 58: no trace of it');
    }

    my $late = cancel_batch($b);

    is($late->{status}, $end->{status} eq 'cancelled' ? 200 : 409,
       'row 58: later');
    is_deeply(get_batch($b), $end, 'row 58: the end is the end');
}

Test::More::note(join ', ', map { "$_: $seen{$_}" } sort keys %seen);

# of what has failed

$b = run_batch("{}\n");
is($b->{status}, 'failed', 'row 58: failed');
is(cancel_batch($b->{id})->{status}, 409, 'row 58: is not cancelled');
is_deeply(get_batch($b->{id}), $b, 'row 58: still failed');



=== TEST 4: row 59: deleting what is in use
--- concurrency
4
--- flow
my $w = watch(keys => qr/:(b|c|l|bl|active)\b/);
my $f = upload(jsonl(60, mock => 'slow=100'))->{json}{id};
my $b = create_batch($f)->{json}{id};

wait_batch($b, until => qr/in_progress/);
is(http('DELETE', "/v1/files/$f")->{status}, 200, 'row 59: input deleted');
is(http('GET', "/v1/files/$f/content")->{status}, 404, 'row 59: gone');
is(http('DELETE', "/v1/files/$f")->{status}, 404, 'row 59: twice');

my $late = create_batch($f)->{json};

$b = wait_batch($b);
is($b->{status}, 'completed', 'row 59: the batch is completed');
is($b->{request_counts}{completed}, 60, 'row 59: all lines');
is($b->{input_file_id}, $f, 'row 59: it tells of its input');

$late = wait_batch($late->{id});
is($late->{status}, 'failed', 'row 59: too late for another batch');
is($late->{errors}{data}[0]{code}, 'invalid_request', 'row 59: code');
like($late->{errors}{data}[0]{message}, qr/^Cannot find file \Q$f\E/,
     'row 59: wording');

# a download that has begun

my $out = $b->{output_file_id};
my $want = content($out);
my $big = run_batch(jsonl(20, mock => 'size=400000'));
my $whole = content($big->{output_file_id});

cmp_ok(length $whole, '>', 8000000, 'row 59: a large output');

my @c = map { BatchRaw->new } 1 .. 3;

for (@c) {
    $_->send(raw_request('GET', "/v1/files/$big->{output_file_id}/content"));
    $_->fill;
}

is(http('DELETE', "/v1/files/$big->{output_file_id}")->{status}, 200,
   'row 59: output deleted');

for (@c) {
    ok($_->answer->{body} eq $whole, 'row 59: the download is complete');
    ok($_->alive, 'row 59: keep-alive');
}

is(get_batch($big->{id})->{output_file_id}, $big->{output_file_id},
   'row 59: the batch does not change');

# on ten connections at the same time

@c = map { BatchRaw->new } 1 .. 10;
$_->send(raw_request('DELETE', "/v1/files/$out")) for @c;

my %status;
$status{$_->answer->{status}}++ for @c;

cmp_ok($status{200} // 0, '>=', 1, 'row 59: deleted once at least');
is(($status{200} // 0) + ($status{404} // 0), 10, 'row 59: or not found');
is(http('DELETE', "/v1/files/$out")->{status}, 404, 'row 59: then not found');

# uploads and deletes of the same moment: a file is there or not, never half

for (1 .. 10) {
    my $id = upload($want, purpose => 'vision')->{json}{id};
    my @c = map { BatchRaw->new } 1 .. 4;

    $c[0]->send(raw_request('GET', "/v1/files/$id/content"));
    $c[1]->send(raw_request('DELETE', "/v1/files/$id"));
    $c[2]->send(raw_request('GET', "/v1/files/$id/content"));
    $c[3]->send(raw_request('DELETE', "/v1/files/$id"));

    my @r = map { $_->answer } @c;

    for (@r[0, 2]) {
        ok($_->{status} == 404 || $_->{body} eq $want, 'row 59: all or none');
    }

    ok($r[1]{status} == 200 || $r[3]{status} == 200, 'row 59: deleted');
    is(http('GET', "/v1/files/$id")->{status}, 404, 'row 59: gone');
}

http('DELETE', "/v1/files/$_") for grep { defined } $big->{input_file_id};
close $_->{s} for @c;
$w->leftovers('row 59');



=== TEST 5: row 60: ranges
--- flow
my $data = join '', map { chr(33 + $_ % 90) } 1 .. 1000;
my $id = upload($data, purpose => 'vision')->{json}{id};
my $empty = upload('', purpose => 'vision')->{json}{id};
my $r = http('GET', "/v1/files/$id/content");
my ($etag, $time) = @{ $r->{headers} }{'etag', 'last-modified'};
my @cases;

# what is said must be what is sent; the third is the part, if there is one

sub ranged {
    my ($range, $status, $from, $to, @h) = @_;
    my $shown = length $range > 40 ? length($range) . ' bytes' : $range;

    for my $method ('GET', 'HEAD') {
        push @cases, { row => 60, status => $status, kept => 1,
            name => "$method $shown @h", head => $method eq 'HEAD',
            request => [$method, "/v1/files/$id/content", undef,
                        Range => $range, @h],
            check => sub {
                my ($r) = @_;
                my $h = $r->{headers};
                my $want = $status == 206 ? substr $data, $from, $to - $from + 1
                           : $status == 416 ? undef : $data;
                my $says = $status == 206 ? "bytes $from-$to/1000"
                           : $status == 416 ? 'bytes */1000' : '';
                my @bad;

                push @bad, 'Content-Range: ' . ($h->{'content-range'} // '')
                    if ($h->{'content-range'} // '') ne $says;
                push @bad, "Content-Length: $h->{'content-length'}"
                    if defined $want && $h->{'content-length'} != length $want;
                push @bad, 'other bytes'
                    if defined $want && $method eq 'GET'
                       && $r->{body} ne $want;
                push @bad, 'a file in an error'
                    if $status == 416 && $h->{'content-disposition'};

                return @bad;
            } };
    }
}

ranged('bytes=0-0', 206, 0, 0);
ranged('bytes=-1', 206, 999, 999);
ranged('bytes=999-', 206, 999, 999);
ranged('bytes=0-', 206, 0, 999);
ranged('bytes=-1000', 206, 0, 999);
ranged('bytes=-1001', 206, 0, 999);
ranged('bytes=-9223372036854775807', 206, 0, 999);
ranged('bytes=5-9223372036854775807', 206, 5, 999);
ranged('bytes= 5 - 6 ', 206, 5, 6);
ranged('bytes=1000-', 416);
ranged('bytes=1000-1000', 416);
ranged('bytes=9000000000000000000-', 416);
ranged('bytes=9223372036854775807-', 416);
ranged('bytes=9223372036854775808-', 416);
ranged('bytes=18446744073709551616-', 416);
ranged('bytes=0-18446744073709551616', 416);
ranged('bytes=-9223372036854775808', 416);
ranged('bytes=-18446744073709551615', 416);
ranged('bytes=-' . '9' x 4000, 416);
ranged('bytes=6-5', 416);
ranged('bytes=-0', 416);
ranged('bytes=-', 416);
ranged('bytes=', 200);
ranged('bytes=--1', 416);
ranged('bytes=a-b', 416);
ranged('bytes=0x1-5', 416);
ranged('bytes=1,5', 416);
ranged('bytes', 200);
ranged('lines=0-0', 200);
ranged('Bytes=0-0', 206, 0, 0);
ranged('bytes=0-0,5-5', 200);
ranged('bytes=' . join(',', map { "$_-$_" } 1 .. 1000), 200);
ranged('bytes=' . '0-,' x 1300 . '0-', 200);
ranged('bytes=' . '-1,' x 1300 . '-1', 200);
ranged('bytes=-1200,-9223372036854774808', 200);
ranged('bytes=-623,-9223372036854775186', 200);
ranged('bytes=0-0,2000-', 206, 0, 0);
ranged('bytes=0-0', 206, 0, 0, 'If-Range' => $etag);
ranged('bytes=0-0', 206, 0, 0, 'If-Range' => $time);
ranged('bytes=0-0', 200, 0, 0, 'If-Range' => "W/$etag");
ranged('bytes=0-0', 200, 0, 0, 'If-Range' => '"x"');
ranged('bytes=0-0', 200, 0, 0, 'If-Range' => '*');
ranged('bytes=0-0', 200, 0, 0, 'If-Range' => '"');
ranged('bytes=0-0', 200, 0, 0, 'If-Range' => 'Thu, 01 Jan 1970 00:00:00 GMT');
ranged('bytes=0-0', 200, 0, 0, 'If-Range' => 'Fri, 31 Dec 9999 23:59:59 GMT');
ranged('bytes=1000-', 200, 0, 0, 'If-Range' => '"x"');
ranged('bytes=0-0', 206, 0, 0, 'Range' => 'bytes=5-5');

# of nothing, nginx knows no range

push @cases, map {
    { row => 60, name => "an empty file, $_", status => 200, kept => 1,
      request => ['GET', "/v1/files/$empty/content", undef, Range => $_],
      check => sub { length $_[0]{body} ? 'bytes of nothing' : () } }
} ('bytes=0-0', 'bytes=-1', 'bytes=0-');

push @cases, { row => 60, name => 'of an error', status => 404, kept => 1,
               request => ['GET', '/v1/files/x/content', undef,
                           Range => 'bytes=0-0'] },
             { row => 60, name => 'of a list', status => 200, kept => 1,
               request => ['GET', '/v1/files', undef, Range => 'bytes=0-0'],
               check => sub { $_[0]{json}{object} eq 'list' ? ()
                              : $_[0]{body} } };

hostile('ranges', @cases);
