# Every way in which an inference server answers, and what becomes of it.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

no_long_string();
run_tests();

__DATA__

=== TEST 1: one batch, one line for each behaviour
--- api_config
    batch_retries 1;
--- flow
my @good = qw(plain big chunked nolength pretty u2028 rid xaccel early echo);
my %script = (plain => '', big => 'size=5000000', chunked => 'chunked;size=30000',
    nolength => 'nolength', pretty => 'pretty', u2028 => 'u2028', rid => 'rid',
    xaccel => 'xaccel', early => 'early', echo => 'echo',
    nonjson => 'nonjson', empty => 'empty', cut => 'cut',
    cutchunk => 'cutchunk', close => 'close', garbage => 'garbage',
    gzip => 'gzip', html500 => 'html500', s404 => 'status=404',
    s400 => 'status=400', s429 => 'status=429', s500 => 'status=500',
    s503 => 'status=503', rid400 => 'rid;status=400');
my @names = sort keys %script;
my $in = join '', map {
    my $mock = $script{$_};
    qq({"custom_id":"$_","method":"POST","url":"/v1/chat/completions",)
    . qq("body":{"model":"m","messages":[{"role":"user","content":"$_"}])
    . ($mock ? qq(,"mock":"$mock") : '') . "}}\n"
} @names;

my $b = run_batch($in);

is($b->{status}, 'completed', 'completed');
is_deeply($b->{request_counts}, { total => scalar @names,
          completed => scalar @good, failed => @names - @good }, 'counts');

my $out = content($b->{output_file_id});
my $err = content($b->{error_file_id});

is(($out =~ tr/\n//), scalar @good, 'a physical line for each good answer');
is(($err =~ tr/\n//), @names - @good, 'a physical line for each bad one');
unlike($out . $err, qr/\xe2\x80[\xa8\xa9]|\xc2\x85|[\x00-\x09\x0b-\x1f]/,
       'nothing in them that breaks a line');

my $ok = by_id(output_lines($b));
my $bad = by_id(error_lines($b));

is_deeply([sort keys %$ok], [sort @good], 'who is in the output file');
is_deeply([sort keys %$bad],
          [grep { !$ok->{$_} } @names], 'who is in the error file');

for my $l (values %$ok) {
    is_deeply([sort keys %$l], [qw(custom_id error id response)],
              "keys of $l->{custom_id}");
    is($l->{response}{status_code}, 200, "status of $l->{custom_id}");
    is($l->{error}, undef, "no error in $l->{custom_id}");
    like($l->{id}, qr/^batch_req_[0-9a-f]{32}$/, "id of $l->{custom_id}");
    is($l->{response}{body}{object}, 'chat.completion',
       "body of $l->{custom_id}");
}

my %ids = map { $_->{id} => 1 } values %$ok, values %$bad;
is(scalar keys %ids, scalar @names, 'all ids differ');

my $text = sub {
    $ok->{$_[0]}{response}{body}{choices}[0]{message}{content}
};

is(length json_encode($ok->{big}{response}{body}), 5000000, 'all of 5 MB');
like($text->('big'), qr/^You said: big.*lorem/s, 'and the right ones');
is(length json_encode($ok->{chunked}{response}{body}), 30000, 'chunked');
is($text->('nolength'), 'You said: nolength', 'without a length');
is($text->('pretty'), 'You said: pretty', 'pretty printed');
is($text->('u2028'), "You said: u2028 [\x{2028}\x{2029}\x{85}]",
   'separators have the same value');
is($ok->{rid}{response}{request_id}, 'abc-123', "the upstream's request id");
like($ok->{plain}{response}{request_id}, qr/^[0-9a-f]{32}$/, 'or one of ours');
is($text->('xaccel'), 'You said: xaccel', 'X-Accel-Redirect is no order');
like($text->('early'), qr/^You said: /, 'an answer before the request is read');

# no answer, or none that can be kept

my %code = (nonjson => 'upstream_invalid_response',
            empty => 'upstream_invalid_response',
            cut => 'upstream_error', cutchunk => 'upstream_error',
            close => 'upstream_error', garbage => 'upstream_invalid_response',
            gzip => 'upstream_invalid_response');
my %message = (nonjson => qr/200.*not JSON: this is "not" JSON\r\nbut two/s,
               empty => qr/200 with an empty body/,
               cut => qr/in the middle of its answer, after \d+ bytes \(2/,
               cutchunk => qr/in the middle of its answer.*\(2 attempts/,
               close => qr/closed it without an answer \(2 attempts/,
               garbage => qr/not an HTTP response \(2 attempts/,
               gzip => qr/Content-Encoding that was not asked for/);

for my $id (sort keys %code) {
    my $l = $bad->{$id};
    ok(exists $l->{response} && !defined $l->{response}, "$id: no response");
    is($l->{error}{code}, $code{$id}, "$id: code");
    like($l->{error}{message}, $message{$id}, "$id: message");
}

# an HTTP answer other than 2xx is told as it came

my %status = (s400 => 400, s404 => 404, s429 => 429, s500 => 500, s503 => 503,
              html500 => 500, rid400 => 400);

for my $id (sort keys %status) {
    my $l = $bad->{$id};
    ok(exists $l->{error} && !defined $l->{error}, "$id: no error");
    is($l->{response}{status_code}, $status{$id}, "$id: status");
    is($l->{response}{body}{error}{message}, "mock answers $status{$id}",
       "$id: its own body") if $id ne 'html500';
}

is($bad->{rid400}{response}{request_id}, 'abc-123', 'request id of a 400');
is($bad->{html500}{response}{body}{error}{message},
   "<html>\r\n<body>500 \"mock\"</body>\r\n</html>\r\n",
   'an HTML page is wrapped');
is($bad->{html500}{response}{body}{error}{type}, 'upstream_error',
   'and says so');

# attempts: only what may get better is tried again

my %tries;
$tries{$_->{line}}++ for @{ mock_get('/mock/log')->{data} };
my %twice = map { $_ => 1 } qw(cut cutchunk close garbage html500 s429 s500
                               s503);

# an idle connection may be closed just as it is taken: an attempt that the mock
# has not seen, and that nginx tells of

my %torn = map { $_ => 1 } qw(cut cutchunk close garbage);
my %lost;
my $log = error_log_text();
$lost{$1}++ while $log =~ /(?:prematurely\ closed|reset\ by\ peer
                      |Broken\ pipe)[^\n]*\ line:\ (\d+),\ attempt:\ 1/gx;

for my $i (0 .. $#names) {
    my $n = $twice{$names[$i]} ? 2 : 1;
    $n -= $lost{$i + 1} // 0 if $n == 2 && !$torn{$names[$i]};
    is($tries{$i + 1}, $n, "attempts: $names[$i]");
}


=== TEST 2: the upstream gets the very bytes of the body
--- flow
my @bodies = (
    '{"model":"m","mock":"echo","messages":[],"n":1}',
    '{ "model" :"m" , "mock":"echo",  "messages":[ ],"a":  [ 1,2 ,3]  }',
    '{"model":"m","mock":"echo","messages":[],"n":123456789012345678901234567890.5e+400}',
    '{"model":"m","mock":"echo","messages":[],"x":1,"x":2,"x":{"x":3}}',
    '{"model":"m","mock":"echo","messages":[],"e":"\u0041\/\ud83d\ude00\\\\"}',
    '{"model":"m","mock":"echo","messages":[],"e":"' . "\xc3\xa9\xe2\x80\xa8"
        . '"}',
    "{\t\"model\":\"m\",\"mock\":\"echo\",\"messages\":[]\t}",
    '{"model":"\u006d","mock":"echo","messages":[],"":"","z":[[[[]]]]}',
    '{"model":"m","mock":"echo","messages":["' . 'x' x 300000 . '"]}',
);
my $i = 0;
my $in = join '', map {
    $i++;
    qq( {"body" : $_ ,"url":"\\/v1/chat/completions", "method":"POST",)
    . qq("custom_id":"$i"}\r\n)
} @bodies;

my $b = run_batch($in);
is($b->{status}, 'completed', 'completed');
my $ok = by_id(output_lines($b));

for my $i (1 .. @bodies) {
    my $echo = $ok->{$i}{response}{body}{echo};
    utf8::encode($echo) if defined $echo;
    ok(defined $echo && $echo eq $bodies[$i - 1], "body $i");
}


=== TEST 3: headers of a line's request are built from nothing
--- flow
my $f = upload(jsonl(1, mock => 'headers'));
my $b = create_batch($f->{json}{id},
                     http => [headers => ['X-Secret' => 'mine',
                                          Cookie => 'a=b',
                                          'Accept-Encoding' => 'gzip',
                                          Authorization => 'Bearer x']]);
$b = wait_batch($b->{json}{id});
my ($l) = output_lines($b);
my $h = $l->{response}{body}{headers};

unlike($h, qr/secret|cookie|authorization|accept-encoding|transfer/i,
       'nothing of the client that made the batch');
like($h, qr/^content-type: application\/json\r$/mi, 'Content-Type');
like($h, qr/^accept: application\/json\r$/mi, 'Accept');
like($h, qr/^user-agent: nginx-batch\r$/mi, 'User-Agent');
like($h, qr/^content-length: \d+\r$/mi, 'Content-Length');


=== TEST 4: nothing listens
--- http_extra
    upstream nobody { server unix:/nonexistent.sock max_fails=0; }
--- api_config
    batch_retries 1;
--- server_extra
    location /gone/ { internal; proxy_pass http://nobody/; }
    location ~ ^/second/(files|batches) { batch_api; batch_pass /gone; }
--- config
    location = /up { return 200 "up\n"; }
    location /v1/ {
        batch_api;
        batch_pass /gone;
        batch_retries 1;
        batch_timeout 20s;
    }
    location /gone/ { internal; proxy_pass http://nobody/; }
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $b = run_batch(jsonl(3));
is($b->{status}, 'completed', 'the batch ends');
is($b->{output_file_id}, undef, 'no output file');
is($b->{request_counts}{failed}, 3, 'all failed');

for my $l (error_lines($b)) {
    is($l->{response}, undef, 'no response');
    is($l->{error}{code}, 'upstream_error', 'code');
    like($l->{error}{message}, qr/^No connection to the upstream.*2 attempts/,
         'message');
}


=== TEST 5: an upstream that never answers
--- api_config
    batch_timeout 1s;
--- flow
my $b = run_batch(jsonl(3, mock => sub { $_[0] == 2 ? '' : 'hang' }));
is($b->{status}, 'completed', 'the batch ends');
is_deeply($b->{request_counts}, { total => 3, completed => 1, failed => 2 },
          'counts');

for my $l (error_lines($b)) {
    is($l->{response}, undef, 'no response');
    is($l->{error}{code}, 'request_timeout', 'code');
    like($l->{error}{message}, qr/not answered within the 1000 ms/, 'message');
}

ok(wait_until(sub { mock_stats()->{inflight} == 0 }), 'requests are cut');


=== TEST 6: nginx gives up waiting
--- api_config
    batch_retries 1;
--- line_config
    proxy_read_timeout 200ms;
--- flow
my $b = run_batch(jsonl(2, mock => sub { $_[0] == 2 ? '' : 'hang' }));
is_deeply($b->{request_counts}, { total => 2, completed => 1, failed => 1 },
          'counts');

my ($l) = error_lines($b);
is($l->{response}, undef, 'no response');
is($l->{error}{code}, 'request_timeout', 'code');
like($l->{error}{message}, qr/did not answer in time \(2 attempts/, 'message');


=== TEST 7: a limit of the location
--- http_extra
    limit_req_zone $server_name zone=lines:1m rate=20r/s;
--- line_config
    limit_req zone=lines;
--- flow
my $b = run_batch(jsonl(12));
is($b->{status}, 'completed', 'completed');
is($b->{request_counts}{completed}, 12, 'all succeed in the end');
is(mock_stats()->{requests}, 12, 'refused ones did not reach the upstream');


=== TEST 8: a limit that delays
--- http_extra
    limit_req_zone $server_name zone=lines:1m rate=50r/s;
--- line_config
    limit_req zone=lines burst=100;
--- flow
my $b = run_batch(jsonl(20));
is($b->{request_counts}{completed}, 20, 'all succeed');


=== TEST 9: a location that refuses
--- line_config
    return 403;
--- flow
my $b = run_batch(jsonl(2));
is($b->{request_counts}{failed}, 2, 'both fail');

for my $l (error_lines($b)) {
    is($l->{error}{code}, 'upstream_error', 'code');
    like($l->{error}{message}, qr/refused by nginx with status 403 \(1/,
         'message');
}


=== TEST 10: error_page leads to another server
--- line_config
    proxy_intercept_errors on;
    error_page 500 502 = @second;
--- server_extra
    location @second {
        rewrite ^/batch-lines(.*)$ $1 break;
        proxy_set_header X-Mock "rid";
        proxy_pass http://inference;
    }
--- api_config
    batch_retries 0;
--- flow
my $b = run_batch(jsonl(3, mock => sub { $_[0] == 2 ? 'status=500;times=1' : '' }));
is($b->{request_counts}{completed}, 3, 'all succeed');
is(mock_stats()->{requests}, 4, 'one of them at the second try');


=== TEST 11: error_page with a page of nginx's own
--- line_config
    proxy_intercept_errors on;
    error_page 500 = @page;
--- server_extra
    location @page {
        internal;
        default_type application/json;
        return 418 '{"error":{"message":"own page","type":"t","param":null,"code":null}}';
    }
--- api_config
    batch_retries 0;
--- flow
my $b = run_batch(jsonl(1, mock => 'status=500'));
my ($l) = error_lines($b);
is($b->{request_counts}{failed}, 1, 'failed');
is($l->{response}{status_code}, 418, 'its status');
is($l->{response}{body}{error}{message}, 'own page', 'its body');


=== TEST 12: a large answer takes no memory of the worker
--- flow
my $b = run_batch(jsonl(2, mock => sub {
    $_[0] == 1 ? 'size=70000000' : '' }), timeout => 60);
is($b->{request_counts}{completed}, 2, 'both succeed');
my $r = http('GET', "/v1/files/$b->{output_file_id}/content",
             headers => [Range => 'bytes=69999000-70000200'], timeout => 60);
is($r->{status}, 206, 'all of it is there');
like($r->{body}, qr/^[a-z ]+"\}/, 'to the end');

for my $pid (nginx_workers()) {
    my ($kb) = (slurp("/proc/$pid/status") // '') =~ /VmHWM:\s+(\d+)/;
    cmp_ok($kb // 0, '<', 60000, 'peak of a worker, kB')
        unless $ENV{TEST_NGINX_BINARY} =~ /asan/;
}


=== TEST 13: the next server of the upstream gets the body again
--- http_extra
    upstream two {
        server unix:/nonexistent.sock max_fails=0;
        server $TEST_NGINX_MOCK max_fails=0;
    }
--- config
    location = /up { return 200 "up\n"; }
    location /v1/ { batch_api; batch_pass /two; batch_retries 0; }
    location /two/ {
        internal;
        proxy_pass http://two/;
        proxy_next_upstream error timeout http_503;
    }
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $b = run_batch(jsonl(10, mock => 'echo'));
is($b->{request_counts}{completed}, 10, 'all succeed');
my ($l) = output_lines($b);
like($l->{response}{body}{echo}, qr/"mock":"echo"/, 'with their bodies');
