use lib 't/lib';
use BatchTest;
use BatchRaw;
use IO::Socket::UNIX;
use Test::Nginx::Socket 'no_plan';

# batch_body_rate: clients whose bodies come too slowly, or not at all.

sub head {
    my ($path, @h) = @_;

    return join("\r\n", "POST $path HTTP/1.1", 'Host: a', @h) . "\r\n\r\n";
}

sub readable {
    my ($s, $seconds) = @_;
    my $r = '';

    vec($r, fileno $s, 1) = 1;
    return select $r, undef, undef, $seconds;
}

# Sends a piece now and then until there is an answer, or what was sent cannot
# be an accident any more; then whether the server has closed.

sub drip {
    my ($c, $piece) = @_;

    for (1 .. 300) {
        last if readable($c->{s}, 0.1);
        $c->send($piece);
    }
}

sub is_408 {
    my ($c, $name) = @_;
    my $r = $c->answer;

    is($r->{status}, 408, $name);
    is($r->{headers}{'content-type'}, 'application/json', "$name: type");
    like($r->{json}{error}{message},
         qr/^The request body did not arrive in time: \d+ bytes in \d+ seconds/,
         "$name: message");
    is($r->{json}{error}{type}, 'invalid_request_error', "$name: error type");
    is($r->{headers}{connection}, 'close', "$name: Connection");
    is(wait_until(sub { $c->fill ? 0 : 'end' }, 15), 'end', "$name: closed");
    ok(wait_until(sub { !glob(store_dir() . '/tmp/*') }, 15),
       "$name: no tmp file is left");
}

sub frame {
    my ($type, $flags, $stream, $data) = @_;

    return substr(pack('N', length $data), 1) . pack('CCN', $type, $flags,
                                                     $stream) . $data;
}

# literal header fields without indexing, short ones

sub hpack {
    my $out = '';

    while (my ($k, $v) = splice @_, 0, 2) {
        $out .= pack('CC/aC/a', 0, $k, $v);
    }

    return $out;
}

run_tests();

__DATA__

=== TEST 1: a client that is too slow
--- api_config
    batch_body_rate 1k grace=1s;
    lingering_timeout 1s;
--- flow
my ($body, $type) = multipart(purpose => 'batch',
                              file => { filename => 'a.jsonl',
                                        data => jsonl(5000) });
my @form = "Content-Type: $type";
my $len = 'Content-Length: ' . length $body;
my $c = BatchRaw->new;

$c->send(head('/v1/files', @form, $len));
is_408($c, 'idle after the headers');

$c = BatchRaw->new;
$c->send(head('/v1/files', @form, $len));
drip($c, '-');
is_408($c, 'bytes one by one');

$c = BatchRaw->new;
$c->send(head('/v1/files', @form, 'Transfer-Encoding: chunked'));
drip($c, "1\r\n-\r\n");
is_408($c, 'chunked');

$c = BatchRaw->new;
$c->send(head('/v1/batches', 'Content-Length: 1000'));
drip($c, ' ');
is_408($c, 'JSON');

my $u = api('POST', '/v1/uploads', { purpose => 'batch', bytes => 9999,
                                     filename => 'a.jsonl',
                                     mime_type => 'application/jsonl' });
is($u->{status}, 200, 'an upload');

$c = BatchRaw->new;
$c->send(head("/v1/uploads/$u->{json}{id}/parts", @form, $len));
drip($c, '-');
is_408($c, 'a part');

# whoever stays above the rate may take its time

is(upload(jsonl(5000))->{status}, 200, 'a fast one');

$c = BatchRaw->new;
$c->send(head('/v1/files', @form, $len) . $body, step => 200000, delay => 0.4);
is($c->answer->{status}, 200, 'with pauses');
ok($c->alive, 'keep-alive');

# the client goes before its time is over

$c = BatchRaw->new;
$c->send(head('/v1/files', @form, $len) . substr $body, 0, 300000);
$c->abort;
ok(wait_until(sub { !glob(store_dir() . '/tmp/*') }, 15), 'a client that goes');



=== TEST 2: half a large file, then nothing
--- api_config
    batch_body_rate 1m grace=1s;
    lingering_timeout 1s;
--- flow
my ($body, $type) = multipart(purpose => 'batch',
                              file => { filename => 'a.jsonl',
                                        data => jsonl(20000) });
my $c = BatchRaw->new;

$c->send(head('/v1/files', "Content-Type: $type",
              'Content-Length: ' . length $body)
         . substr $body, 0, 700000);
ok(wait_until(sub { glob(store_dir() . '/tmp/*') }, 15), 'on its way to disk');
is_408($c, 'half a file');



=== TEST 3: above the rate, but for too long
--- api_config
    batch_body_rate 1 grace=1s max=2s;
    lingering_timeout 1s;
--- flow
my $c = BatchRaw->new;

$c->send(head('/v1/files', 'Content-Type: multipart/form-data; boundary=x',
              'Content-Length: 9999999')
         . "--x\r\nContent-Disposition: form-data; name=\"file\";"
         . " filename=\"a\"\r\n\r\n");
drip($c, '-' x 1000);
is_408($c, 'the maximum');



=== TEST 4: off: nginx's own time decides
--- api_config
    batch_body_rate off;
    client_body_timeout 2s;
--- flow
my $c = BatchRaw->new;

$c->send(head('/v1/batches', 'Content-Length: 1000') . '{');

my $r = $c->answer;
is($r->{status}, 408, 'client_body_timeout');
is($r->{json}{error}{message}, 'The request body did not arrive in time.',
   'message');
is($r->{headers}{connection}, 'close', 'Connection');



=== TEST 5: HTTP/2
--- http_extra
server {
    listen unix:$TEST_NGINX_BATCH_DIR/h2.sock http2;
    location /v1/ {
        client_max_body_size 0;
        batch_api;
        batch_pass /batch-lines;
        batch_body_rate 1k grace=1s;
    }
    location /batch-lines/ {
        internal;
        proxy_pass http://$TEST_NGINX_MOCK:/;
    }
}
--- flow
my $s = IO::Socket::UNIX->new(Peer => test_dir() . '/h2.sock');

print $s "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(4, 0, 0, ''),
         frame(1, 4, 1, hpack(':method', 'POST', ':path', '/v1/files',
                              ':scheme', 'http', ':authority', 'a',
                              'content-type',
                              'multipart/form-data; boundary=x'));
$s->flush;

my $in = '';
my $closed;

for (1 .. 300) {
    if (readable($s, 0.1)) {
        sysread $s, $in, 65536, length $in or last;
        last if $in =~ /\}\}/;
        next;
    }

    print $s frame(0, 0, 1, '-');
    $s->flush;
}

like($in, qr/"message":"The request body did not arrive in time: \d+ bytes/,
     'message');
like($in, qr/^.*408/s, 'status');
ok(wait_until(sub { !glob(store_dir() . '/tmp/*') }, 15),
   'no tmp file is left');



=== TEST 6: bytes that came early buy a minute at most, not an hour
--- log_level: debug
--- api_config
    batch_body_rate 500 grace=1s;
--- flow
my ($body, $type) = multipart(purpose => 'batch',
                              file => { filename => 'a.jsonl',
                                        data => jsonl(1) . ' ' x 2e6 });
my $c = BatchRaw->new;

$c->send(head('/v1/files', "Content-Type: $type",
              'Content-Length: ' . length $body) . substr $body, 0, 2e6);

my @ms;

ok(wait_until(sub {
    @ms = error_log_text() =~ /body may wait (\d+) ms/g;
    return @ms == 2;
}, 30), 'a second has passed');
is($ms[0], 1000, 'grace');
cmp_ok($ms[1] // 1e9, '<=', 60000, 'then a minute, for 4000 s of bytes');
cmp_ok($ms[1] // 0, '>', 0, 'which it has');
$c->abort;



=== TEST 7: what is no rate
--- api_config
    batch_body_rate 0;
--- must_die
--- error_log
invalid value "0" in "batch_body_rate"



=== TEST 8: what is no option
--- api_config
    batch_body_rate 500 grace=20s most=1h;
--- must_die
--- error_log
invalid value "most=1h" in "batch_body_rate"



=== TEST 9: what is no time
--- api_config
    batch_body_rate 500 grace=soon;
--- must_die
--- error_log
invalid value "grace=soon" in "batch_body_rate"
