# HTTP/2: without TLS frame by frame, with TLS by curl.

use strict;
use warnings;

use lib 't/lib';

use BatchTest;

BEGIN {
    my $dir = test_dir();

    $ENV{TEST_NGINX_H2_PORT} = BatchTest::free_port();
    $ENV{TEST_NGINX_H2S_PORT} = BatchTest::free_port();

    system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj"
           . " /CN=localhost -addext subjectAltName=DNS:localhost -keyout"
           . " '$dir/key.pem' -out '$dir/cert.pem' 2> '$dir/openssl.log'") == 0
        or die "no certificate can be made, see $dir/openssl.log\n";

    # the sanitizers' runtime wants to be the first library there is

    if (($ENV{TEST_NGINX_BINARY} // '') !~ /asan/) {
        $ENV{GATE} = "$dir/gate";

        system($ENV{CC} || 'cc', '-shared', '-fPIC', '-o', "$dir/gate.so",
               't/lib/gate.c', '-ldl') == 0
            or die "t/lib/gate.c does not compile\n";

        $Test::Nginx::Util::ld_preload = $ENV{LD_PRELOAD} = "$dir/gate.so";
    }
}

END { unlink $ENV{GATE} if $ENV{GATE} }

use BatchH2;
use Test::Nginx::Socket 'no_plan';

our $Api = <<'CONF';
    server {
        listen 127.0.0.1:$TEST_NGINX_H2_PORT http2;
        listen 127.0.0.1:$TEST_NGINX_H2S_PORT ssl http2;
        ssl_certificate $TEST_NGINX_BATCH_DIR/cert.pem;
        ssl_certificate_key $TEST_NGINX_BATCH_DIR/key.pem;

        location /v1/ {
            client_max_body_size 0;
            batch_api;
            batch_pass /batch-lines;
        }

        location /batch-lines/ {
            internal;
            proxy_pass http://inference/;
            client_max_body_size 0;
        }

        location /small/ {
            client_max_body_size 100k;
            batch_api;
            batch_pass /batch-lines;
        }
    }
CONF

sub client { return BatchH2->new(port => $ENV{TEST_NGINX_H2_PORT}, @_) }


# The body and its headers; a length only if it is wanted.

sub form {
    my ($data, %o) = @_;
    my ($body, $type) = multipart(purpose => $o{purpose} // 'batch',
                                  file => { data => $data,
                                            filename => 'h2.jsonl' });

    return ($body, ['content-type' => $type,
                    $o{length} ? ('content-length' => length $body) : ()]);
}


sub curl {
    my ($path, @args) = @_;
    my $dir = test_dir();
    my $base = "https://localhost:$ENV{TEST_NGINX_H2S_PORT}";

    delete local @ENV{qw(LD_PRELOAD http_proxy https_proxy HTTPS_PROXY)};

    open my $out, '-|', 'curl', '-sS', '--http2', '--cacert', "$dir/cert.pem",
        '--noproxy', '*', '--resolve',
        "localhost:$ENV{TEST_NGINX_H2S_PORT}:127.0.0.1", '-m', 60, '-w',
        "\n%{http_code} %{http_version}", @args, "$base$path"
        or die "curl: $!\n";
    binmode $out;

    my $text = join '', <$out>;
    close $out;

    my ($body, $status, $version) = $text =~ /^(.*)\n(\d+) (\S+)\z/s;

    return { body => $body, status => $status, version => $version,
             json => scalar eval { json_decode($body) } };
}

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_extra => $Api . ($block->http_extra // ''));
});
run_tests();

__DATA__

=== TEST 1: uploads, with and without a length, in frames of any size
--- flow
my $data = jsonl(20);
my $c = main::client();

for my $o ({}, { length => 1 }, { step => 1 }, { step => 100, length => 1 }) {
    my $name = join ' ', 'upload', %$o;
    my ($body, $headers) = main::form($data, %$o);
    my $r = $c->request('POST', '/v1/files', $body, $headers, %$o);

    is($r->{status}, 200, $name) or diag($r->{body});
    is($r->{json}{bytes}, length $data, "$name: bytes");
    is($r->{json}{filename}, 'h2.jsonl', "$name: filename");
    is($r->{reset}, undef, "$name: not reset");

    my $get = $c->request('GET', "/v1/files/$r->{json}{id}/content");
    ok($get->{body} eq $data, "$name: content");
    is($get->{headers}{'content-length'}, length $data, "$name: length");
}

my $big = jsonl(40_000);

for my $length (0, 1) {
    my ($body, $headers) = main::form($big, length => $length);
    my $r = $c->request('POST', '/v1/files', $body, $headers);

    is($r->{json}{bytes}, length $big, length($big) . ' bytes');
    ok($c->request('GET', "/v1/files/$r->{json}{id}/content")->{body} eq $big,
       'content');
}

# several at the same time, piece by piece in turns

my @up = map {
    my $own = jsonl(300 + $_);
    my ($body, $headers) = main::form($own, length => $_ & 1);
    { data => $own, body => $body,
      id => $c->open('POST', '/v1/files', $headers) }
} 1 .. 12;

for (my $at = 0; grep { $at < length $_->{body} } @up; $at += 5000) {
    for (grep { $at < length $_->{body} } @up) {
        my $piece = substr $_->{body}, $at, 5000;
        $c->data($_->{id}, $piece,
                 end => $at + 5000 >= length $_->{body});
    }
}

for (@up) {
    my $r = $c->answer($_->{id});
    is($r->{status}, 200, 'one of many');
    ok($c->request('GET', "/v1/files/$r->{json}{id}/content")->{body}
       eq $_->{data}, 'content');
}

my ($body, $headers) = main::form($data);
my $f = $c->request('POST', '/v1/files', $body, $headers)->{json}{id};
my $r = $c->request('POST', '/v1/batches', json_encode({
    input_file_id => $f, endpoint => '/v1/chat/completions',
    completion_window => '24h' }), ['content-type' => 'application/json']);

is($r->{status}, 200, 'a batch');
is(wait_batch($r->{json}{id})->{request_counts}{completed}, 20, 'completes');
ok($c->alive, 'all of it on one connection');



=== TEST 2: refused in the middle: the answer, the stream's end, the next one
--- http_extra
batch_max_file_size 300k;
--- flow
my $line = jsonl(1);
my $c = main::client();

# the answer comes while the client still sends; the rest is dropped

for my $case (['too large', 413, 'File is too large.',
               main::form($line x 8000)],
              ['too large by its length', 413, 'File is too large.',
               main::form($line x 20000, length => 1)],
              ['a purpose that is none', 400, qr/^'x' is not one of /,
               main::form($line x 2000, purpose => 'x', length => 1)],
              ['no JSONL', 400, qr/Must be .jsonl/,
               main::form('x' x 280_000, length => 1)],
              ['no multipart', 400, qr/multipart/, 'x' x 500_000,
               ['content-type' => 'text/plain']])
{
    my ($name, $status, $message, $body, $headers) = @$case;

    for my $round (1 .. 3) {
        my $id = $c->open('POST', '/v1/files', $headers);
        my $sent = $c->data($id, $body, end => 1);
        my $r = $c->answer($id);

        is($r->{status}, $status, $name) or diag($r->{body});
        like($r->{json}{error}{message}, ref $message ? $message
             : qr/^\Q$message\E$/, "$name: message");
        like($r->{headers}{'x-request-id'}, qr/^[0-9a-f]{32}$/,
             "$name: X-Request-Id");
        is($r->{headers}{'content-length'}, length $r->{body},
           "$name: all of it");
        ok($r->{over}, "$name: the stream has ended");
        is($r->{reset} // 0, 0, "$name: without an error");
        cmp_ok($sent, '<=', length $body, "$name: $sent bytes sent");
    }

    ok($c->alive, "$name: the next stream is served");
    is($c->{goaway}, undef, "$name: no GOAWAY");
}

# nginx's own limit, in the API's words

my ($body, $headers) = main::form($line x 3000, length => 1);
my $r = $c->request('POST', '/small/files', $body, $headers);

is($r->{status}, 413, 'client_max_body_size');
is($r->{headers}{'content-type'}, 'application/json', 'in JSON');
like($r->{headers}{'x-request-id'}, qr/^[0-9a-f]{32}$/, 'X-Request-Id');

# one stream's refusal is not the other's

($body, $headers) = main::form($line x 1500, length => 1);
my $good = $c->open('POST', '/v1/files', $headers);
$c->data($good, substr $body, 0, 100_000);
my ($bad, $h) = main::form('x' x 280_000, length => 1);
is($c->request('POST', '/v1/files', $bad, $h)->{status}, 400, 'refused');
$c->data($good, substr($body, 100_000), end => 1);
is($c->answer($good)->{status}, 200, 'the one beside it goes on');

# a length that does not hold

for (-10, 10) {
    my $d = main::client();
    my @wrong = @$headers;

    $wrong[3] += $_;
    my $r = $d->request('POST', '/v1/files', $body, \@wrong);

    cmp_ok($r->{status} || 400, '>=', 400, 'a wrong length is refused');
    ok($r->{over} || $d->{goaway} || $d->{closed}, 'and ended');
}

# and clients that change their mind

for my $part (0, 1000, 250_000) {
    my $id = $c->open('POST', '/v1/files', $headers);
    $c->data($id, substr $body, 0, $part);
    $c->frame(BatchH2::RST, 0, $id, pack 'N', 8);
    $c->{streams}{$id}{over} = 1;
}

ok($c->alive, 'after streams that were reset');

my $d = main::client();
$d->data($d->open('POST', '/v1/files', $headers), substr $body, 0, 200_000);
$d->flush;
close $d->{s};

ok(wait_until(sub { !glob(store_dir() . '/tmp/*') }), 'no tmp file is left');
is(scalar(() = glob(store_dir() . '/files/*/*.json')), 1, 'one file is');



=== TEST 3: while the disk does not write, the client is held back
--- main_config
env GATE;
worker_shutdown_timeout 5s;
--- flow
SKIP: {
    skip 'not with sanitizers: a library is preloaded', 1 unless $ENV{GATE};

    my $data = jsonl(60_000);
    my ($body, $headers) = main::form($data);
    my $c = main::client();

    ok($c->alive, 'connected');

    open my $gate, '>', $ENV{GATE} or die "gate: $!\n";
    close $gate;

    my $id = $c->open('POST', '/v1/files', $headers);
    my $sent = $c->data($id, $body, patience => 3);

    cmp_ok($sent, '<', 2_000_000, "$sent bytes, and then no window");
    cmp_ok($sent, '>=', 65536, 'but some');
    is($c->{streams}{$id}{answered}, undef, 'no answer');
    ok($c->alive, 'another stream of the connection is served');

    unlink $ENV{GATE};

    $c->data($id, substr($body, $sent), end => 1);
    my $r = $c->answer($id);

    is($r->{json}{bytes}, length $data, 'then all of it');
    ok((content($r->{json}{id}) // '') eq $data, 'as it was sent');
}



=== TEST 4: downloads with a small window; HEAD, Range, conditions
--- flow
my $data = jsonl(30_000);
my $f = upload($data)->{json}{id};
my $c = main::client(window => 1000, hold => 1);
my $id = $c->open('GET', "/v1/files/$f/content", [], end => 1);
my $s = $c->{streams}{$id};

ok(wait_until(sub { $c->turn(0.1); length $s->{body} >= 1000 }), 'begins');
$c->turn(0.2);
is(length $s->{body}, 1000, 'as much as the window has');
ok($c->alive, 'a stream beside it');
$c->give($id, 100_000);
ok(wait_until(sub { $c->turn(0.1); length $s->{body} >= 65535 - 300 }),
   'more of it');
$c->{hold} = 0;
$c->give($id, 20_000_000);
my $r = $c->answer($id);
ok($r->{body} eq $data, 'and all of it');

$c = main::client();
$r = $c->request('HEAD', "/v1/files/$f/content");
is($r->{status}, 200, 'HEAD');
is($r->{headers}{'content-length'}, length $data, 'length');
is($r->{body}, '', 'no body');

$r = $c->request('GET', "/v1/files/$f/content", undef,
                 [range => 'bytes=100-199']);
is($r->{status}, 206, 'Range');
is($r->{body}, substr($data, 100, 100), 'its bytes');

$r = $c->request('GET', "/v1/files/$f/content", undef,
                 ['if-none-match' => "\"$f\""]);
is($r->{status}, 304, 'If-None-Match');

$r = $c->request('GET', "/v1/files/$f/content", undef, ['if-match' => '"x"']);
is($r->{status}, 412, 'If-Match');
is($r->{json}{error}{type}, 'invalid_request_error', 'in JSON');

# what is refused without a body

for (['GET', '/v1/files/x', 404], ['PATCH', '/v1/files', 405],
     ['POST', '/v1/files', 400], ['POST', '/v1/batches', 400],
     ['OPTIONS', '/v1/files', 204], ['POST', '/v1/batches/x/cancel', 404],
     ['GET', '/v1/x', 404])
{
    my ($method, $path, $status) = @$_;
    my $r = $c->request($method, $path);

    is($r->{status}, $status, "$method $path");
    like($r->{headers}{'x-request-id'}, qr/^[0-9a-f]{32}$/, 'X-Request-Id');
    ok($r->{json}{error}, 'an error') if $status != 204;
    is($r->{reset}, undef, 'not reset');
}

ok($c->alive, 'the connection lives');



=== TEST 5: TLS and ALPN, by curl
--- flow
my $data = jsonl(30_000);
my $name = test_dir() . '/up.jsonl';

open my $out, '>', $name or die;
print $out $data;
close $out;

for (['with a length'], ['without', '-H', 'Transfer-Encoding: chunked'],
     ['Expect', '-H', 'Expect: 100-continue'])
{
    my ($what, @args) = @$_;
    my $r = main::curl('/v1/files', @args, '-F', "file=\@$name", '-F',
                       'purpose=batch');

    is($r->{status}, 200, "upload $what") or diag($r->{body});
    is($r->{version}, 2, "$what: HTTP/2");
    is($r->{json}{bytes}, length $data, "$what: bytes");
    ok(main::curl("/v1/files/$r->{json}{id}/content")->{body} eq $data,
       "$what: content");
}

my $r = main::curl('/v1/files', '-F', 'purpose=nothing', '-F',
                   "file=\@$name");
is($r->{status}, 400, 'refused');
like($r->{json}{error}{message}, qr/^'nothing' is not one of/, 'message');

$r = main::curl('/small/files', '-F', 'purpose=batch', '-F', "file=\@$name");
is($r->{status}, 413, 'too large');
ok($r->{json}{error}{message}, 'message');

$r = main::curl('/v1/batches', '-X', 'POST');
is($r->{status}, 400, 'POST without a body');
is(main::curl('/v1/files', '-I')->{status}, 200, 'HEAD');
is(main::curl('/v1/files', '--http1.1', '-F', 'purpose=batch', '-F',
              "file=\@$name")->{json}{bytes}, length $data, 'HTTP/1.1 too');
