# Rows 61 to 66 of the list of hostile inputs: what an inference server may
# answer.  Whatever it is, it becomes one line of the output or of the error
# file, and never another line's.

use lib 't/lib';
use BatchTest;
use BatchHostile;
use Test::Nginx::Socket 'no_plan';

our $Mock = BatchTest::free_port();
our $Pid;

$ENV{TEST_NGINX_MOCK_PORT} = $Mock;

# a second mock on TCP, where a connection can be reset

sub tcp_mock {
    $Pid //= BatchTest::spawn('mock-tcp', "$BatchTest::Root/build/mock",
                              '-p', $Mock);
    Test::More::ok(wait_until(sub {
        IO::Socket::INET->new("127.0.0.1:$Mock") }), 'the second mock');
}

END { BatchTest::reap($Pid, 'TERM') if $Pid && $BatchTest::Owner == $$ }

$BatchClient::Json->max_depth(2000);

our $Good = '{"id":"x","object":"chat.completion","choices":[],'
            . '"usage":{"prompt_tokens":1}}';

# an answer, its header lines given; length as it is unless told otherwise

sub answer {
    my ($first, $body, @headers) = @_;
    my $length = grep({ /^(content-length|transfer-encoding):/i } @headers)
                 ? '' : 'Content-Length: ' . length($body) . "\r\n";

    return "HTTP/1.1 $first\r\nContent-Type: application/json\r\n$length"
           . join('', map { "$_\r\n" } @headers) . "\r\n$body";
}

sub raw {
    my ($bytes, $how) = @_;

    # else nginx would keep a connection that is about to be closed

    $bytes =~ s/^(HTTP\/1.1 [^\r]*\r\n)/$1Connection: close\r\n/
        unless ($how // '') =~ /keep/;

    return { model => 'm', messages => [], raw => unpack('H*', $bytes),
             mock => join ';', 'raw', $how // () };
}

# A table of answers: [row, name, body of the line, what becomes of it].  That
# is 200 or 2xx: it is in the output file; another status: in the error file with
# it; a code: without a response; several, if it depends on nginx' version.  Between them are lines that must be answered
# well, each with its own text.  More of a row: code that gets the line.

sub upstream {
    my ($name, @rows) = @_;

    # directories are opened when they are needed first

    Test::More::ok(wait_until(sub {
        upload(jsonl(1));
        return !grep { my $pid = $_;
                       !grep { m{/store/tmp$} } BatchHostile::open_files($pid)
                     } nginx_workers();
    }, 30), "$name: both workers are warm");

    my $w = watch(keys => qr/^\{batch\}:((f|fl|b|bl|u[a-z]):|fx$)/);
    my $in = '';

    for my $i (0 .. $#rows) {
        for my $l ([$i, $rows[$i][2]],
                   ["good-$i", { model => 'm', messages => [{ role => 'user',
                     content => "text of $i" }] }])
        {
            my $body = ref $l->[1] ? json_encode($l->[1]) : $l->[1];
            $in .= qq({"custom_id":"$l->[0]","method":"POST","url":)
                   . qq("/v1/chat/completions","body":$body}\n);
        }
    }

    my $b = run_batch($in, timeout => 90);

    Test::More::is($b->{status}, 'completed', "$name: completed");

    my $out = content($b->{output_file_id}) // '';
    my $err = content($b->{error_file_id}) // '';

    Test::More::is(($out . $err) =~ tr/\n//, 2 * @rows,
                   "$name: one physical line each");
    Test::More::unlike($out . $err, qr/[\x00-\x09\x0b-\x1f]/,
                       "$name: no control byte in them");

    my $by = by_id(output_lines($b));
    my $bad = by_id(error_lines($b));

    for my $i (0 .. $#rows) {
        my ($row, $what, undef, $want, $check) = @{ $rows[$i] };
        my $l = $by->{$i} // $bad->{$i} // {};
        my $is = $l->{error}{code} // $l->{response}{status_code} // 'none';

        ($want) = grep { $_ eq $is } @$want if ref $want;
        $want //= 'one of them';
        $is = 'in the other file'
            if ($by->{$i} ? 1 : 0) != ($want =~ /^2..$/ ? 1 : 0);
        my $said = $by->{"good-$i"}{response}{body}{choices}[0]{message}
                   {content} // '';

        Test::More::is($is, $want, "row $row: $what")
            or Test::More::diag(json_encode($by->{$i} // $bad->{$i} // {}));
        Test::More::is($said, "You said: text of $i",
                       "row $row: $what: the next line has its own answer");
        $check->($l, "row $row: $what") if $check && $l;
    }

    $w->leftovers($name);
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: row 61: headers
--- api_config
    batch_retries 1;
--- line_config
            proxy_buffer_size 8k;
--- flow
my ($a, $r) = (\&main::answer, \&main::raw);
my $good = $main::Good;
my $no = 'upstream_invalid_response';
my $e = 'upstream_error';

main::upstream('row 61',
    [61, 'X-Accel-Redirect', $r->($a->('200 OK', $good,
         'X-Accel-Redirect: /v1/files')), 200],
    [61, 'X-Accel-Redirect to a named location', $r->($a->('200 OK', $good,
         'X-Accel-Redirect: @x', 'X-Accel-Limit-Rate: 1',
         'X-Accel-Buffering: no', 'X-Accel-Expires: 9')), 200],
    [61, 'Set-Cookie', $r->($a->('200 OK', $good, 'Set-Cookie: a=b',
         'Location: http://127.0.0.1/', 'Refresh: 0; url=/')), 200],
    [61, '101', $r->("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
         . "Connection: upgrade\r\n\r\nabc"), $no],
    [61, '100 and nothing', $r->("HTTP/1.1 100 Continue\r\n\r\n"), $no],
    [61, '102', $r->("HTTP/1.1 102 Processing\r\n\r\n"), $no],
    [61, '204 with a body', $r->($a->('204 No Content', $good)), $no],
    [61, '205', $r->($a->('205 Reset Content', '')), $no],
    [61, '206', $r->($a->('206 Partial Content', '{"id":1}',
         'Content-Range: bytes 0-7/100')), 206],
    [61, '301', $r->($a->('301 Moved', '{}', 'Location: http://x/')), 301],
    [61, '304', $r->("HTTP/1.1 304 Not Modified\r\n\r\n"), 304],
    [61, '999', $r->($a->('999 Odd', '{"a":1}')), 999],
    [61, '000', $r->($a->('000 Odd', '{"a":1}')), $no],
    [61, '99', $r->($a->('99 Odd', '{"a":1}')), $no],
    [61, '-1', $r->($a->('-1 Odd', '{"a":1}')), $no],
    [61, 'a status of 20 digits', $r->($a->('2' x 20 . ' OK', $good)), $no],
    [61, 'no status', $r->("HTTP/1.1\r\n\r\n$good"), $no],
    [61, 'HTTP/0.9', $r->($good), $no],
    [61, 'HTTP/9.9', $r->("HTTP/9.9 200 OK\r\nContent-Length: "
         . length($good) . "\r\n\r\n$good"), 200],
    [61, 'another protocol', $r->("SSH-2.0-OpenSSH\r\n"), $no],
    [61, 'TLS', $r->("\x15\x03\x01\0\x02\x02\x46"), $no],
    [61, 'a header of 64 KB', $r->($a->('200 OK', $good,
         'X-Long: ' . 'x' x 65536)), $no],
    [61, '10,000 headers', $r->($a->('200 OK', $good,
         map { "X-$_: $_" } 1 .. 10000)), $no],
    [61, 'no end of the header', $r->("HTTP/1.1 200 OK\r\nX: y\r\n"), $no],
    [61, 'nothing but CRLF', $r->("\r\n" x 100), $no],
    [61, 'a header without a colon', $r->($a->('200 OK', $good, 'nonsense')),
     200],
    [61, 'NUL in a header', $r->($a->('200 OK', $good, "X: a\0b")), $no],
    [61, 'two lengths', $r->($a->('200 OK', $good, 'Content-Length: 5',
         'Content-Length: 6')), $no],
    [61, 'a length of -1', $r->($a->('200 OK', $good, 'Content-Length: -1')),
     [200, $no]],
    [61, 'a length of 20 digits', $r->($a->('200 OK', $good,
         'Content-Length: ' . '9' x 20)), [200, $no, $e]],
    [61, 'a length and chunks', $r->($a->('200 OK', "2\r\n{}\r\n0\r\n\r\n",
         'Content-Length: 2', 'Transfer-Encoding: chunked')), [200, $no]],
    [61, 'Transfer-Encoding: gzip', $r->($a->('200 OK', $good,
         'Transfer-Encoding: gzip')), [200, $no]],
    [61, 'a request id that breaks JSON', $r->($a->('200 OK', $good,
         'X-Request-Id: a"b\\', "X-Request-Id: a\x01\xff")), 200]);


=== TEST 2: row 62: bodies that end too early, or never
--- api_config
    batch_retries 1;
    batch_timeout 3s;
--- flow
my ($a, $r) = (\&main::answer, \&main::raw);
my $good = $main::Good;
my $e = 'upstream_error';
my $half = substr $good, 0, 40;
my @chunked = ('Transfer-Encoding: chunked');

main::upstream('row 62',
    [62, 'shorter than its length', $r->($a->('200 OK', $half,
         'Content-Length: ' . length $good)), $e],
    [62, 'no byte of it', $r->($a->('200 OK', '', 'Content-Length: 9')), $e],
    [62, 'longer than its length', $r->($a->('200 OK', "$good$good",
         'Content-Length: ' . length $good)), 200],
    [62, 'and kept open', $r->($a->('200 OK', "$good$good",
         'Content-Length: ' . length $good), 'keep'), 200],
    [62, 'its length cuts it', $r->($a->('200 OK', $good,
         'Content-Length: 40')), 'upstream_invalid_response'],
    [62, 'its length is 0', $r->($a->('200 OK', $good, 'Content-Length: 0')),
     'upstream_invalid_response'],
    [62, 'a chunk without a size', $r->($a->('200 OK', "zz\r\n{}\r\n",
         @chunked)), $e],
    [62, 'a size that overflows', $r->($a->('200 OK',
         'F' x 16 . "\r\n{}\r\n", @chunked)), $e],
    [62, 'a size of 17 digits', $r->($a->('200 OK',
         '1' . '0' x 16 . "\r\n{}\r\n", @chunked)), $e],
    [62, 'a negative size', $r->($a->('200 OK', "-2\r\n{}\r\n0\r\n\r\n",
         @chunked)), $e],
    [62, 'no last chunk', $r->($a->('200 OK', "2\r\n{}\r\n", @chunked)), $e],
    [62, 'a chunk longer than its size', $r->($a->('200 OK',
         "2\r\n{}xxxx\r\n0\r\n\r\n", @chunked)), $e],
    [62, 'half of it, then silence', $r->($a->('200 OK', $half,
         'Content-Length: ' . length $good), 'stay'), 'request_timeout'],
    [62, 'half a header, then silence', $r->("HTTP/1.1 200 OK\r\nX", 'stay'),
     'request_timeout'],
    [62, 'an endless drip', { model => 'm', messages => [], mock =>
         'drip=20;size=3000000' }, 'request_timeout'],
    [62, 'no length, closed', $r->("HTTP/1.1 200 OK\r\n\r\n$good"), 200],
    [62, 'no length, cut', $r->("HTTP/1.1 200 OK\r\n\r\n$half"),
     'upstream_invalid_response']);


=== TEST 3: row 62: reset in the middle
--- api_config
    batch_retries 1;
    batch_pass /tcp;
--- server_extra
    location /tcp/ {
        internal;
        proxy_pass http://127.0.0.1:$TEST_NGINX_MOCK_PORT/;
        proxy_http_version 1.1;
    }
--- flow
main::tcp_mock();
my ($a, $r) = (\&main::answer, \&main::raw);
my $good = $main::Good;

main::upstream('row 62 by TCP',
    [62, 'reset in the body', $r->($a->('200 OK', substr($good, 0, 40),
         'Content-Length: ' . length $good), 'rst'), 'upstream_error'],
    [62, 'reset in a chunk', $r->($a->('200 OK', "ff\r\n$good",
         'Transfer-Encoding: chunked'), 'rst'), 'upstream_error'],
    [62, 'reset in the header', $r->("HTTP/1.1 200 OK\r\n", 'rst'),
     ['upstream_invalid_response', 'upstream_error']],
    [62, 'reset at once', $r->('', 'rst'), 'upstream_error']);


=== TEST 4: row 63: bodies that are no JSON on a line
--- api_config
    batch_retries 0;
--- flow
my ($a, $r) = (\&main::answer, \&main::raw);
my $no = 'upstream_invalid_response';
my $is = sub { my ($re) = @_;
               sub { like($_[0]{error}{message}, $re, $_[1]) } };
my $value = sub { my ($v) = @_;
                  sub { is_deeply($_[0]{response}{body}, $v, $_[1]) } };

main::upstream('row 63',
    [63, 'text', $r->($a->('200 OK', 'hello')), $no, $is->(qr/not JSON: hello/)],
    [63, 'lines of text', $r->($a->('200 OK', "a\r\nb\nc\0d\te")), $no,
     $is->(qr/not JSON: a\r\nb\nc\0d\te/)],
    [63, 'NULs', $r->($a->('200 OK', "\0" x 100)), $no],
    [63, '1 MB of text', $r->($a->('200 OK', 'x' x 100000)), $no, sub {
        cmp_ok(length $_[0]{error}{message}, '<', 8192, $_[1]) }],
    [63, 'pretty', $r->($a->('200 OK', "{\r\n  \"a\" : [\n1,\n\t2 ]\r\n}\n")),
     200, $value->({ a => [1, 2] })],
    [63, 'a separator', $r->($a->('200 OK',
         "{\"a\":\"\xe2\x80\xa8\xc2\x85\"}")), 200,
     $value->({ a => "\x{2028}\x{85}" })],
    [63, 'invalid UTF-8', $r->($a->('200 OK', "{\"a\":\"\xff\xfe\"}")), 200,
     $value->({ a => "\x{fffd}\x{fffd}" })],
    [63, 'a raw surrogate', $r->($a->('200 OK', "{\"a\":\"\xed\xa0\x80\"}")),
     200, $value->({ a => "\x{fffd}" x 3 })],
    [63, 'latin-1', $r->($a->('200 OK', "{\"a\":\"\xe9\"}")), 200,
     $value->({ a => "\x{fffd}" })],
    [63, 'a NUL in a string', $r->($a->('200 OK', "{\"a\":\"\0\"}")), 200,
     $value->({ a => "\0" })],
    [63, 'a newline in a string', $r->($a->('200 OK', "{\"a\":\"\n\"}")), 200,
     $value->({ a => "\n" })],
    [63, 'invalid UTF-8 outside of strings', $r->($a->('200 OK', "{\xff}")),
     $no],
    [63, 'an event stream', $r->($a->('200 OK',
         "data: {\"a\":1}\n\ndata: [DONE]\n\n")), $no],
    [63, 'two values', $r->($a->('200 OK', "{}\n{}")), $no],
    [63, '512 levels', $r->($a->('200 OK', '[' x 512 . ']' x 512)), 200],
    [63, '513 levels', $r->($a->('200 OK', '[' x 513 . ']' x 513)), $no],
    [63, '50,000 levels', $r->($a->('200 OK', '[' x 50000)), $no],
    [63, 'gzip', { model => 'm', messages => [], mock => 'gzip' }, $no],
    [63, 'said to be br', $r->($a->('200 OK', '{}', 'Content-Encoding: br')),
     $no],
    [63, 'identity', $r->($a->('200 OK', '{}', 'Content-Encoding: identity')),
     200],
    [63, 'a mark', $r->($a->('200 OK', "\xef\xbb\xbf{}")), 200],
    [63, 'UTF-16', $r->($a->('200 OK', "\xff\xfe{\0}\0")), $no],
    [63, 'a scalar', $r->($a->('200 OK', '7')), 200, $value->(7)],
    [63, 'NaN', $r->($a->('200 OK', '{"a":NaN}')), 200,
     $value->({ a => undef })],
    [63, 'white space', $r->($a->('200 OK', " \n ")), $no],
    [63, 'what looks like our line', $r->($a->('200 OK',
         '{"custom_id":"good-0","response":null,"error":{"code":"x"}}')), 200],
    [63, 'a 400 with HTML', $r->($a->('400 Bad',
         "<html>\r\n\"x\"\0</html>")), 400]);


=== TEST 5: row 64: errors with a 200, and Retry-After
--- api_config
    batch_retries 1;
    batch_timeout 8s;
--- flow
my ($a, $r) = (\&main::answer, \&main::raw);
my $e = '{"error":{"message":"m","type":"t","param":null,"code":null}}';
my @after = ('1000000000', '-5', '0', '', 'x', '1.5', '1e9', '9' x 30,
             'Fri, 31 Dec 1999 23:59:59 GMT', 'Fri, 31 Dec 2199 23:59:59 GMT',
             'Sun, 06 Nov 1994', "1, 2", '0x10', '+1', ' 1');

main::upstream('row 64',
    [64, '200 with an error', $r->($a->('200 OK', $e)), 200],
    [64, '201 with an error', $r->($a->('201 Created', $e)), 201],
    [64, '404', $r->($a->('404 Not Found', $e)), 404],
    (map { [64, "429, Retry-After: $_", $r->($a->('429 Too Many', $e,
            "Retry-After: $_")), 429] } @after),
    [64, '503 and two of them', $r->($a->('503 No', $e, 'Retry-After: 1',
         'Retry-After: 99999')), 503]);


=== TEST 6: row 65: answers that nobody asked for
--- concurrency
1
--- api_config
    batch_retries 2;
--- flow
my ($a, $r) = (\&main::answer, \&main::raw);
my $good = $main::Good;
my $second = $a->('200 OK', '{"choices":[{"message":{"content":"SECOND"}}]}');
my $two = $a->('200 OK', $good) . $second;

main::upstream('row 65',
    [65, 'two answers', $r->($two, 'keep'), 200],
    [65, 'three answers', $r->($two . $second, 'keep'), 200],
    [65, 'half a second one', $r->(substr($two, 0, -5), 'keep'), 200],
    [65, 'a newline more', $r->($a->('200 OK', $good) . "\r\n", 'keep'), 200],
    [65, 'chunked, and a second', $r->($a->('200 OK', "2\r\n{}\r\n0\r\n\r\n",
         'Transfer-Encoding: chunked') . $second, 'keep'), 200],
    [65, 'a 400 and a second', $r->($a->('400 Bad', '{}') . $second, 'keep'),
     400],
    [65, 'a 304 and a second', $r->("HTTP/1.1 304 Not Modified\r\n\r\n"
         . $second, 'keep'), 304],
    [65, 'before all was read', { model => 'm', mock => 'early',
         messages => [{ role => 'user', content => 'x' x 3000000 }] }, 200]);
unlike(json_encode(mock_get('/mock/log')), qr/SECOND/, 'row 65: log');


=== TEST 7: row 66: it hangs up when nginx reloads, or when all is over
--- api_config
    batch_retries 4;
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $f = upload(jsonl(40, mock => 'slow=60'));
my $b = create_batch($f->{json}{id})->{json};
wait_batch($b->{id}, until => qr/in_progress|completed/);

for (1 .. 2) {
    kill 'HUP', nginx_pid();
    mock_stop();
    mock_start();
}

$b = wait_batch($b->{id}, timeout => 60);
is($b->{status}, 'completed', 'row 66: completed');
is($b->{request_counts}{completed}, 40, 'row 66: all lines');

# cancelled while the upstream answers, and hangs up

$f = upload(jsonl(10, mock => sub { $_[0] % 2 ? 'cut;slow=200'
                                              : 'drip=50;size=2000' }));
$b = create_batch($f->{json}{id})->{json};
wait_batch($b->{id}, until => qr/in_progress|completed/);
wait_until(sub { mock_stats()->{inflight} > 2 });
cancel_batch($b->{id});
mock_stop('KILL');
mock_start();
is(wait_batch($b->{id}, timeout => 30)->{status}, 'cancelled',
   'row 66: cancelled');
