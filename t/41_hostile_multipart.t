use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchHostile;
use Test::Nginx::Socket 'no_plan';

# Rows 15 to 32 of the list of hostile inputs: multipart bodies, their fields
# and file names.  t/lib/BatchHostile.pm tells what a case is.

our @purpose = ('purpose', 'vision');


# A body with any Content-Type; the parts as in form().

sub typed {
    my ($type, $boundary, @parts) = @_;

    return raw_request('POST', '/v1/files', form($boundary, @parts),
                       defined $type ? ('Content-Type' => $type) : ());
}


# A body of one's own.

sub body {
    my ($text, @more) = @_;

    return (request => ['POST', '/v1/files', $text, 'Content-Type' =>
                        'multipart/form-data; boundary=b0undary', @more]);
}


# CPU time of the workers' event loops, what their threads do not in it: in ns
# or, if this kernel does not count them, in ticks.

sub cpu_time {
    my $sum = 0;

    for my $pid (nginx_workers()) {
        my $task = "/proc/$pid/task/$pid";

        if ((slurp("$task/schedstat") // '') =~ /^(\d+) /) {
            $sum += $1;
            next;
        }

        my @stat = split ' ', slurp("$task/stat") =~ s/^.*\) //r;
        $sum += $stat[11] + $stat[12];
    }

    return $sum;
}


sub shown {
    return length $_[0] > 40 ? length($_[0]) . ' bytes'
                             : '"' . $_[0] =~ s/[^ -~]/?/gr . '"';
}

# With sanitizers, memory and time are theirs.

sub plain_build { return ($ENV{TEST_NGINX_BINARY} // '') !~ /asan/ }

no_long_string();
run_tests();

__DATA__

=== TEST 1: rows 15 and 16: the boundary
--- flow
my @parts = ([@main::purpose], ['file', 'x', 'a']);
my @cases;

for (['no boundary', 'multipart/form-data', 'x'],
     ['no value', 'multipart/form-data; boundary', 'x'],
     ['empty', 'multipart/form-data; boundary=', ''],
     ['empty, quoted', 'multipart/form-data; boundary=""', ''],
     ['71 characters', 'multipart/form-data; boundary=' . 'x' x 71, 'x' x 71],
     ['3000 characters', 'multipart/form-data; boundary=' . 'x' x 3000, 'x'],
     ['a NUL escape', 'multipart/form-data; boundary=a%00b', 'a%00b'],
     ['a bracket', 'multipart/form-data; boundary=a<b', 'a<b'],
     ['an asterisk', 'multipart/form-data; boundary=a*b', 'a*b'],
     ['not ASCII', "multipart/form-data; boundary=a\xe9", "a\xe9"],
     ['a space at its end', 'multipart/form-data; boundary="a "', 'a '],
     ['a tab inside', "multipart/form-data; boundary=\"a\tb\"", "a\tb"],
     ['an open quote', 'multipart/form-data; boundary="ab', 'ab'],
     ['a quote inside', 'multipart/form-data; boundary=a"b', 'a"b'],
     ['text behind the quote', 'multipart/form-data; boundary="a"b', 'a'],
     ['two', 'multipart/form-data; boundary=a; boundary=b', 'a'],
     ['two equal ones', 'multipart/form-data; boundary=a; boundary=a', 'a'],
     ['two, in odd case', 'multipart/form-data; boundary=a; BOUNDARY=b', 'a'],
     ['a space before =', 'multipart/form-data; boundary =a', 'a'],
     ['boundary*', "multipart/form-data; boundary*=utf-8''a", 'a'],
     ['a comma', 'multipart/form-data, boundary=a', 'a'],
     ['multipart/mixed', 'multipart/mixed; boundary=a', 'a'],
     ['multipart/form-datax', 'multipart/form-datax; boundary=a', 'a'],
     ['no multipart', 'application/json', 'a'],
     ['no type', undef, 'a'], ['an empty type', '', 'a'],
     ['another one in the body', 'multipart/form-data; boundary=abc', 'abd'],
     ['one that begins like it', 'multipart/form-data; boundary=abc', 'abcd'],
     ['one in upper case', 'multipart/form-data; boundary=abc', 'ABC'])
{
    my ($name, $type, $b) = @$_;

    push @cases, { row => 15, name => $name, status => 400, code => undef,
                   param => undef, raw => main::typed($type, $b, @parts) };
}

for (['quoted', 'multipart/form-data; boundary="a b:c"', 'a b:c'],
     ['quoted pairs', 'multipart/form-data; boundary="a\\"b"', 'a"b', 400],
     ['odd case', 'MultiPart/FORM-data; BoundARY=aBc', 'aBc'],
     ['charset first', 'multipart/form-data; charset=utf-8; boundary=a', 'a'],
     ['charset last', 'multipart/form-data;boundary=a;charset="x;y"', 'a'],
     ['semicolons', 'multipart/form-data;;  ; boundary=a ;', 'a'],
     ['70 characters', 'multipart/form-data; boundary=' . 'x' x 70, 'x' x 70],
     ['all kinds', "multipart/form-data; boundary=\"'()+_,-./:=?\"",
      "'()+_,-./:=?"],
     ['dashes', 'multipart/form-data; boundary=-----', '-----'],
     ['one character', 'multipart/form-data; boundary=a', 'a'])
{
    my ($name, $type, $b, $status) = @$_;

    push @cases, { row => 16, name => $name, status => $status // 200,
                   kept => 1, content => 'x',
                   raw => main::typed($type, $b, @parts) };
}

hostile('boundaries', @cases);



=== TEST 2: row 17: content that looks like a boundary
--- api_config
client_body_buffer_size 1k;
--- flow
my $b = "\r\n--b0undary";
my $file = qq(Content-Disposition: form-data; name="file"; filename="a");
my @cases;

for (['CR', "\r"], ['LF', "\n"], ['CRLF', "\r\n"], ['CRLF CRLF', "\r\n" x 2],
     ['CRLF--', "\r\n--"], ['a dash less', "\r\n-b0undary\r\n"],
     ['a dash more', "\r\n---b0undary\r\n"], ['no CRLF', 'x--b0undary'],
     ['no CRLF, its end', 'x--b0undary--'], ['LF only', "\n--b0undary\n"],
     ['CR only', "\r--b0undary\r"], ['half of it', "\r\n--b0un"],
     ['all but the last', "\r\n--b0undar"], ['two halves', "\r\n--b0\r\n--b0"],
     ['a half in a half', "\r\n--b0u\r\r\n--b0u\r\n\r\n--b0undar"],
     ['another case', "\r\n--B0UNDARY\r\n"], ['a NUL', "\r\n--b0undar\0y"],
     ['CR CRLF', "\r\r\n"], ['nothing', ''],
     ['a request', raw_request('DELETE', '/v1/files/x')],
     ['chunks', "5\r\nabcde\r\n0\r\n\r\n"])
{
    my ($name, $text) = @$_;

    for my $data ($text, "x$text", "${text}x", $text x 2) {
        push @cases, { row => 17, name => "$name, " . length($data) . ' bytes',
                       status => 200, kept => 1, content => $data,
                       form => [[@main::purpose], ['file', $data, 'a']] };
    }
}

# a piece of each kind on every edge of a buffer

for my $piece ("\r", "\r\n", "\r\n--", "\r\n--b0un", "\r\n--b0undar\r") {
    my $data = '';

    for my $edge (1 .. 8) {
        for my $at (-length($piece) .. 1) {
            $data .= 'x' x (1024 * $edge + $at - length $data)
                if 1024 * $edge + $at > length $data;
            $data .= $piece;
        }
    }

    for my $shift (0, 1, 2, 5, 11) {
        push @cases, { row => 17, status => 200, kept => 1,
            name => length($piece) . " bytes at edges, shifted by $shift",
            form => [[@main::purpose], ['file', 'y' x $shift . $data, 'a']],
            content => 'y' x $shift . $data };
    }
}

push @cases, { row => 17, name => 'every piece in chunks of 1', chunk => 1,
               status => 200, kept => 1, content => "$b\rx" =~ s/y/z/r,
               form => [[@main::purpose],
                        ['file', "$b\rx" =~ s/y/z/r, 'a']] };

hostile('boundaries in content', @cases);



=== TEST 3: row 18: linear time
--- api_config
batch_max_file_size 0;
--- flow
my $size = 24 * 1024 * 1024;
my $boundary = 'b' x 69;
my $type = "multipart/form-data; boundary=${boundary}0";
my %cpu;

my %piece = (normal => 'x' x 70 . "\n", CR => "\r", CRLF => "\r\n",
             'CRLF--' => "\r\n--", 'almost the boundary' => "\r\n--$boundary",
             'short beginnings' => "\r\n--bbbb", dashes => '-');

# the least of several times: what else the machine does only adds to it

my $measure = sub {
    my ($name, $in) = @_;
    my $piece = $piece{$name};
    my $data = substr $piece x ($size / length($piece) + 1), 0, $size;
    my $body = form("${boundary}0", [@main::purpose],
                    $in eq 'the file' ? ['file', $data, 'a']
                                  : ['unknown', $data],
                    $in eq 'the file' ? () : ['file', 'x', 'a']);

    for (1 .. 2) {
        my $before = main::cpu_time();
        my $r = api('POST', '/v1/files', undef, body => $body,
                    headers => ['Content-Type' => $type]);

        is($r->{status}, 200, "row 18: $name in $in");
        http('DELETE', "/v1/files/$r->{json}{id}");

        my $took = main::cpu_time() - $before;
        my $best = $cpu{$in}{$name};
        $cpu{$in}{$name} = $took unless defined $best && $best < $took;
    }
};

# the one is kept, the other one is thrown away

for my $in ('the file', 'an unknown part') {
    $measure->($_, $in) for 'normal', sort keys %piece;

    for my $name (sort keys %piece) {
        my $limit = main::plain_build() ? 5 : 20;
        my $ratio = sub { $cpu{$in}{$name} / $cpu{$in}{normal} };

        for (1 .. 5) {
            last if $ratio->() < $limit;
            $measure->($_, $in) for 'normal', $name;
        }

        cmp_ok($ratio->(), '<', $limit, "row 18: $name in $in takes no longer");
    }
}



=== TEST 4: rows 19 to 23: framing of the parts
--- flow
my $file = [file => 'x', 'a'];
my @purpose = @main::purpose;
my $ok = form('b0undary', [@purpose], ['file', 'x', 'a']);
my $head = "--b0undary\r\nContent-Disposition: form-data; name=\"purpose\"";
my $rest = "\r\n\r\nvision\r\n" . form('b0undary', ['file', 'x', 'a']);
my @cases;

sub framed {
    my ($row, $name, $text, $status, @more) = @_;

    push @cases, { row => $row, name => $name, status => $status // 400,
                   main::body($text),
                   $status ? (content => 'x', kept => 1)
                           : (code => undef, param => undef), @more };
}

framed(19, 'preamble of a line', "hello\r\n$ok", 200);
framed(19, 'preamble of 4094 bytes', 'x' x 4094 . "\r\n$ok", 200);
framed(19, 'preamble of half boundaries', "\r\n--b0u" x 500 . "\r\n$ok", 200);
framed(19, 'preamble of 4097 bytes', 'x' x 4097 . "\r\n$ok");
framed(19, 'preamble of 1 MB', 'x' x 1048576 . "\r\n$ok");
framed(19, 'preamble of 1 MB of CRs', "\r" x 1048576 . "\r\n$ok");
framed(19, 'preamble without end', 'x' x 1000);
framed(19, 'preamble that ends without CRLF', "x$ok", 400, param => 'purpose',
       code => 'missing_required_parameter', kept => undef);
framed(19, 'epilogue of 4096 bytes', $ok . 'x' x 4094, 200);
framed(19, 'epilogue of another body', $ok . $ok, 200);
framed(19, 'epilogue of a request',
       $ok . raw_request('DELETE', '/v1/files/x'), 200);
framed(19, 'epilogue of 4099 bytes', $ok . 'x' x 4097);
framed(19, 'epilogue of 1 MB', $ok . 'x' x 1048576);
framed(19, 'no CRLF at the end', $ok =~ s/\r\n\z//r, 200);

framed(20, 'LF behind the boundary', $ok =~ s/b0undary\r\n/b0undary\n/r);
framed(20, 'LF behind a header', "$head\nX: y$rest");
framed(20, 'LF for the empty line', "$head\r\n\nvision\r\n" . $ok);
framed(20, 'LF everywhere', $ok =~ s/\r\n/\n/gr);
framed(20, 'CR alone', "$head\rX: y$rest");
framed(20, 'CR CR LF', "$head\r\r\nX: y$rest");
framed(20, 'folded', "$head;\r\n name=\"purpose\"$rest");
framed(20, 'folded with a tab', "$head\r\n\tX$rest");
framed(20, 'folded at once', "--b0undary\r\n X: y$rest");
framed(20, 'no colon', "$head\r\nX$rest");
framed(20, 'no name', "$head\r\n: y$rest");
framed(20, 'a space before the colon', "$head\r\nX : y$rest");
framed(20, 'a space in the name', "$head\r\nX Y: y$rest");
framed(20, 'NUL in a value', "$head\r\nX: \0$rest");
framed(20, 'NUL in a name', "$head\r\nX\0: y$rest");
framed(20, 'NUL in the part\'s name', $ok =~ s/purpose/purpose\0/r);
framed(20, 'no headers', "--b0undary\r\n\r\nvision$rest");
framed(20, 'no Content-Disposition', "--b0undary\r\nX: y$rest");
framed(20, 'a name of bytes', "$head\r\n\xff\xfe: y$rest");

framed(21, 'a line of 9 KB', "$head\r\nX: " . 'y' x 9000 . $rest);
framed(21, 'a line of 1 MB', "$head\r\nX: " . 'y' x 1048576 . $rest);
framed(21, 'a name of 1 MB', "$head\r\n" . 'y' x 1048576 . $rest);
framed(21, '16 lines', $head . "\r\nX: y" x 15 . $rest, 200);
framed(21, '17 lines', $head . "\r\nX: y" x 16 . $rest);
framed(21, '100,000 lines', $head . "\r\nX: y" x 100000 . $rest);
framed(21, 'lines of 600 bytes', $head . ("\r\nX: " . 'y' x 600) x 15 . $rest);
framed(21, 'no end', "$head\r\nX: y");
framed(21, '8000 bytes', "$head\r\nX: " . 'y' x 8000 . $rest, 200);

framed(22, '16 parts',
       form('b0undary', [@purpose], (map { ["p$_", ''] } 1 .. 14),
            ['file', 'x', 'a']), 200);
framed(22, '17 parts',
       form('b0undary', [@purpose], (map { ["p$_", ''] } 1 .. 15),
            ['file', 'x', 'a']));
framed(22, '100,000 empty parts',
       "--b0undary\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n"
       x 100000 . $ok);
framed(22, '100,000 boundaries', "--b0undary\r\n" x 100000);
framed(22, 'parts that share a CRLF',
       "--b0undary\r\nContent-Disposition: form-data; name=x\r\n\r\n" x 3 . $ok,
       200);

framed(23, 'no closing boundary', $ok =~ s/--b0undary--\r\n\z//r);
framed(23, 'half a closing boundary', $ok =~ s/dary--\r\n\z//r);
framed(23, 'one dash', $ok =~ s/-\r\n\z//r);
framed(23, 'one dash and a line', $ok =~ s/-\r\n\z/\r\n/r);
framed(23, 'text behind the first', $ok =~ s/\A--b0undary/--b0undaryx/r);
framed(23, 'text behind the second',
       $ok =~ s/(.)--b0undary\r/$1--b0undaryx\r/sr);
framed(23, 'text behind a space', $ok =~ s/\A--b0undary/--b0undary x/r);
framed(23, 'three dashes', $ok =~ s/\r\n--b0undary--/\r\n--b0undary-x-/r);
framed(23, 'white space behind it', $ok =~ s/\A--b0undary/--b0undary \t/r, 200);
framed(23, 'only the closing one', "--b0undary--\r\n", 400,
       param => 'file', code => 'missing_required_parameter');
framed(23, 'nothing but dashes', '-' x 1000);
framed(23, 'the end in the headers',
       "--b0undary\r\nContent-Disposition: form-data; "
       . "name=\"file\"\r\n--b0undary--\r\n");

my $rss = sub {
    my $sum = 0;

    for my $pid (nginx_workers()) {
        slurp("/proc/$pid/status") =~ /^VmRSS:\s*(\d+) kB/m or die;
        $sum += $1;
    }

    return $sum;
};

hostile('framing', @cases);

# memory: not more for a hundred times as many headers

my @big = grep { length $_->{request}[2] > 500000 } @cases;
my $hit = sub {
    for my $case (@big) {
        my ($method, $path, @rest) = @{ $case->{request} };
        BatchRaw->new->send(raw_request($method, $path, @rest));
    }

    BatchRaw::ready();
};

$hit->() for 1 .. 2;
my $before = $rss->();
$hit->() for 1 .. 4;
cmp_ok($rss->() - $before, '<', main::plain_build() ? 4096 : 65536,
       'row 21: memory is flat, KB');



=== TEST 5: rows 24, 25, 28 to 31: the parts
--- flow
my @purpose = @main::purpose;
my $file = ['file', 'x', 'a'];
my $jsonl = 'Invalid file format for Batch API. Must be .jsonl';
my @cases;

sub parts {
    my ($row, $name, $want, @parts) = @_;

    push @cases, { row => $row, name => $name, status => 400, %$want,
                   form => [@parts] };
}

sub disposition { return "Content-Disposition: form-data; $_[0]\r\n\r\nx" }

parts(24, 'two files', { param => 'file', code => 'duplicate_parameter' },
      [@purpose], $file, $file);
parts(24, 'two files, one of them empty',
      { param => 'file', code => 'duplicate_parameter' },
      [@purpose], ['file', '', 'a'], $file);
parts(24, 'two purposes', { param => 'purpose', code => 'duplicate_parameter' },
      [@purpose], [@purpose], $file);
parts(24, 'two purposes around the file',
      { param => 'purpose', code => 'duplicate_parameter' },
      [@purpose], $file, ['purpose', 'batch']);
parts(24, 'no filename', { type => 'server_error' }, [@purpose], ['file', 'x']);
parts(24, 'name twice', {}, [@purpose],
      disposition('name="file"; name="file"; filename="a"'));
parts(24, 'name twice, other case', {}, [@purpose],
      disposition('name="file"; NAME="purpose"; filename="a"'));
parts(24, 'filename twice', {}, [@purpose],
      disposition('name="file"; filename="a"; filename="b"'));
parts(24, 'filename* twice', {}, [@purpose],
      disposition("name=file; filename*=utf-8''a; filename*=utf-8''b"));
parts(24, 'Content-Disposition twice', {}, [@purpose],
      "Content-Disposition: form-data; name=x\r\n"
      . disposition('name="file"; filename="a"'));
parts(24, 'Content-Type twice', {}, [@purpose],
      "Content-Type: a/b\r\ncontent-type: a/b\r\n"
      . disposition('name="file"; filename="a"'));
parts(24, 'no name', {}, [@purpose], disposition('filename="a"'));
parts(24, 'an empty name', {}, [@purpose], disposition('name=""; filename=a'));
parts(24, 'a name of 257 bytes', {}, [@purpose], $file, ['y' x 257, 'x']);
parts(24, 'a name of 256 bytes', { status => 200, content => 'x' },
      [@purpose], $file, ['y' x 256, 'x']);
parts(24, 'attachment', {}, [@purpose],
      "Content-Disposition: attachment; name=file; filename=a\r\n\r\nx");
parts(24, 'an open quote', {}, [@purpose],
      disposition('name="file"; filename="a'));
parts(24, 'no value', {}, [@purpose], disposition('name="file"; filename'));
parts(24, 'File is not file', { param => 'file' }, [@purpose],
      ['File', 'x', 'a']);
parts(24, 'file[] is not file', { param => 'file' }, [@purpose],
      ['file[]', 'x', 'a']);

parts(25, 'purpose behind the file', { status => 200, content => 'x' },
      $file, [@purpose]);
parts(25, 'purpose of 8 KB', { param => 'purpose' },
      ['purpose', 'v' x 8192], $file);
parts(25, 'purpose of 8 KB and a byte',
      { param => 'purpose', code => 'string_above_max_length' },
      ['purpose', 'v' x 8193], $file);
parts(25, 'purpose of 10 MB',
      { param => 'purpose', code => 'string_above_max_length' },
      ['purpose', 'v' x 10485760], $file);
parts(25, 'seconds of 10 MB',
      { param => 'expires_after[seconds]', code => 'string_above_max_length' },
      [@purpose], ['expires_after[seconds]', '1' x 10485760], $file);
parts(25, 'an unknown part of 10 MB', { status => 200, content => 'x' },
      [@purpose], ['unknown', 'x' x 10485760], $file);

for my $p ('', 'Vision', 'vision ', " vision", "vision\0", "vision\r\n",
           'batch_output', "b\xe4tch", '"batch"', '*', "batch\0vision")
{
    parts(25, 'purpose ' . main::shown($p), { param => 'purpose' },
          ['purpose', $p], $file);
}

for my $e ('base64', 'quoted-printable', 'BASE64', 'x-token', 'gzip') {
    parts(28, $e, {}, [@purpose], "Content-Transfer-Encoding: $e\r\n"
          . disposition('name="file"; filename="a"'));
}

parts(28, $_, { status => 200, content => 'x' }, [@purpose],
      "Content-Transfer-Encoding: $_\r\n"
      . disposition('name="file"; filename="a"')) for '8bit', 'Binary';

for my $t ('multipart/mixed; boundary=b', 'Multipart/form-data; boundary=c',
           'multipart/x')
{
    parts(29, $t, {}, [@purpose],
          "Content-Type: $t\r\n" . disposition('name="file"; filename="a"'));
    parts(29, "$t, an unknown part", {}, [@purpose], $file,
          "Content-Type: $t\r\n" . disposition('name="y"'));
}

for my $s ('3599', '0', '-1', '2592001', '1e3', '9e18', '9e99', '', ' ',
           '3600 ', ' 3600', '3600.0', '0x1000', '+3600', '36 00', "3600\0",
           '1' x 400, '-' . '1' x 400, '18446744073709555216', '--3600',
           "3600\r\n", 'NaN', 'null')
{
    parts(30, main::shown($s), { param => 'expires_after[seconds]' },
          [@purpose], ['expires_after[anchor]', 'created_at'],
          ['expires_after[seconds]', $s], $file);
}

for my $j ('{"anchor":"created_at","seconds":3599}',
           '{"anchor":"created_at","seconds":2592001}',
           '{"anchor":"created_at","seconds":1e400}',
           '{"anchor":"created_at","seconds":3600.5}',
           '{"anchor":"created_at","seconds":"3600"}',
           '{"anchor":"created_at","seconds":99999999999999999999}',
           '{"anchor":"created_at"}', '{"seconds":3600}', '{}', '[]', '1', '',
           '{"anchor":"x","seconds":3600}', '{"anchor":1,"seconds":3600}',
           '{"anchor":"created_at","seconds":3600,"seconds":7200}',
           '[' x 4000, '{"a":' x 1600, "\0", "{\"anchor\":\"created_at\0\"}")
{
    parts(30, 'as JSON: ' . main::shown($j), { param => qr/^expires_after/ },
          [@purpose], ['expires_after', $j], $file);
}

parts(30, 'both kinds', {}, [@purpose], ['expires_after', '{}'],
      ['expires_after[seconds]', 7200], $file);

for my $d ('', "\n", " \n\t\r\n" x 10000, "[]\n", 'x', "\0", "\xef\xbb\xbfx",
           '"{"', "//{\n", "\x{1f}{", "\xff\xfe{\0")
{
    for my $first (0, 1) {
        my @parts = (['purpose', 'batch'], ['file', $d, 'a.jsonl']);

        parts(31, main::shown($d) . ($first ? ', file first' : ''),
              { message => qr/^\Q$jsonl\E(?:\. |$)/ }, $first ? reverse @parts : @parts);
    }
}

parts(31, 'a.txt', { status => 200, content => "{}\n" },
      ['purpose', 'batch'], ['file', "{}\n", 'a.txt']);

hostile('parts', @cases);



=== TEST 6: rows 26 and 27: names of files
--- flow
my @purpose = @main::purpose;
my $file = 'Content-Disposition: form-data; name="file"; ';
my (@cases, %stored);

# what GET shows, and what the download's header says

sub named {
    my ($row, $what, $text, $want) = @_;

    push @cases, { row => $row, name => $what,
        kept => defined $want ? 1 : undef, status => defined $want ? 200 : 400,
        form => [[@purpose], "$file$text\r\n\r\nx"], content => 'x',
        !defined $want ? () : (check => sub {
            my ($r) = @_;
            my $f = $r->{json};
            my @bad;

            push @bad, 'filename is ' . main::shown($f->{filename})
                if $f->{filename} ne $want;

            my $h = http('GET', "/v1/files/$f->{id}/content");
            my $d = $h->{headers}{'content-disposition'};

            push @bad, "Content-Disposition is $d"
                unless $d =~ /^attachment;\ filename="[^"\\%]*"
                              (;\ filename\*=UTF-8''[\w!#\$&+.^`|~%-]+)?$/x;

            push @bad, 'another header: ' . $h->{raw_head}
                if join(' ', sort map { lc } keys %{ $h->{headers} })
                   ne 'accept-ranges cache-control connection content-disposition '
                      . 'content-length content-type date etag last-modified '
                      . 'server x-content-type-options x-request-id';

            return @bad;
        }) };
}

named(26, '../../etc/passwd', 'filename="../../etc/passwd"', 'passwd');
named(26, '/etc/passwd', 'filename="/etc/passwd"', 'passwd');
named(26, 'C:\x', 'filename="C:\x"', 'x');
named(26, 'C:\\\\x', 'filename="C:\\\\x"', 'x');
named(26, '\\\\host\\share', 'filename="\\\\\\\\host\\\\share"', 'share');
named(26, '.', 'filename="."', '');
named(26, '..', 'filename=".."', '');
named(26, 'a/..', 'filename="a/.."', '');
named(26, '...', 'filename="..."', '...');
named(26, 'empty', 'filename=""', '');
named(26, 'empty, a token', 'filename=', '');
named(26, 'a slash at the end', 'filename="a/"', '');
named(26, 'a token', 'filename=a', 'a');
named(26, '4 KB', 'filename="' . 'x' x 4096 . '"', 'x' x 255);
named(26, '4 KB of a directory', 'filename="' . 'x' x 4096 . '/y"', 'y');
named(26, 'a character cut at 255 bytes',
      'filename="' . 'x' x 254 . "\xc3\xa9\"", 'x' x 254);
named(26, '%00', 'filename="a%00b"', 'a%00b');
named(26, 'emoji', "filename=\"\xf0\x9f\x98\x80.jsonl\"", "\x{1f600}.jsonl");
named(26, 'not UTF-8', "filename=\"a\xff\xfe\xc0\xafb\"", 'a____b');
named(26, 'U+202E', "filename=\"a\xe2\x80\xaeb\"", "a\x{202e}b");
named(26, 'C1 controls', "filename=\"a\xc2\x85b\"", 'a_b');
named(26, 'controls', "filename=\"a\x01\x1b[2J\x7fb\"", 'a__[2J_b');
named(26, 'a tab', "filename=\"a\tb\"", 'a_b');
named(26, 'a NUL', "filename=\"a\0b\"");
named(26, 'CRLF', "filename=\"a\r\nX-Evil: 1\"");
named(26, 'CRLF CRLF', "filename=\"a\r\n\r\nb\"");
named(26, 'CR', "filename=\"a\rX-Evil: 1\"");
named(26, 'LF', "filename=\"a\nX-Evil: 1\"");
named(26, 'a second filename', 'filename="a";filename="b"');
named(26, 'an escaped one', 'filename="a\\"; filename=\\"b"',
      'a"; filename="b');
named(26, 'one in %22', 'filename="a%22; filename=%22b"', 'a"; filename="b');
named(26, 'a backslash at the end', 'filename="a\\"');
named(26, '%0d%0a', 'filename="a%0d%0aX-Evil: 1"', 'a%0d%0aX-Evil: 1');
named(26, 'as filename*: CRLF', "filename*=UTF-8''a%0d%0aX-Evil:%201",
      'a__X-Evil: 1');
named(26, 'as filename*: NUL', "filename*=UTF-8''a%00b", 'a_b');
named(26, 'as filename*: slashes', "filename*=UTF-8''..%2f..%2fa%5cb", 'b');
named(26, 'as filename*: quotes', "filename*=UTF-8''a%22;b%22", undef);
named(26, 'as filename*: quotes, encoded', "filename*=UTF-8''a%22%3bb%5c", '');
named(26, 'as filename*: bad bytes', "filename*=UTF-8''a%ff%c0%af", 'a___');
named(26, 'as filename*: no such charset', "filename*=latin1''a");
named(26, 'as filename*: no charset', 'filename*=abc');
named(26, 'as filename*: half an escape', "filename*=UTF-8''a%2");
named(26, 'as filename*: no hex digits', "filename*=UTF-8''a%zz");
named(26, 'as filename*: 4 KB', "filename*=UTF-8''" . '%78' x 1365, 'x' x 255);
named(26, 'the name of our own files', 'filename="file-' . 'a' x 22 . '.json"',
      'file-' . 'a' x 22 . '.json');

for (1 .. 2) {
    named(27, 'filename* last', "filename=\"a\"; filename*=UTF-8''b", 'b');
    named(27, 'filename* first', "filename*=UTF-8''b; filename=\"a\"", 'b');
    named(27, 'filename* empty', "filename=\"a\"; filename*=UTF-8''", '');
    named(27, 'filename* bad', "filename=\"a\"; filename*=x");
}

hostile('names', @cases);

is(join(' ', grep { !m{/(files|batches|uploads|keys|tmp|workers|version)$} }
             glob store_dir() . '/*'), '', 'row 26: nothing else in the store');
ok(!-e test_dir() . '/X-Evil', 'row 26: no such file');
