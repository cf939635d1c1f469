# X-Accel-* of an inference server is ignored wherever a line arrives, and
# works for clients that use the same location.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

our $Conf = <<'CONF';
    location = /up { return 200 "up\n"; }
    location /steered { internal; return 200 '{"steered":true}'; }
    location @steered { return 200 '{"steered":true}'; }
CONF

# an answer that wants to steer nginx

our $Body = '{"object":"kept","usage":{"prompt_tokens":1}}';

sub steers {
    my ($to, $limit) = @_;

    my $bytes = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                . "Connection: close\r\n"
                . "X-Accel-Redirect: $to\r\nX-Accel-Limit-Rate: "
                . ($limit // 1) . "\r\n"
                . "X-Accel-Buffering: no\r\nX-Accel-Expires: 100\r\n"
                . "X-Accel-Charset: utf-16\r\nContent-Length: "
                . length($main::Body) . "\r\n\r\n$main::Body";

    return { model => 'm', messages => [], mock => 'raw',
             raw => unpack('H*', $bytes) };
}

sub kept {
    my ($what) = @_;

    my $batch = run_batch(jsonl(2, body => sub {
        main::steers($_[0] == 1 ? '/steered' : '@steered') }));
    my @l = output_lines($batch);

    Test::More::is(scalar @l, 2, "$what: both are answered");
    Test::More::is($_->{response}{body}{object}, 'kept',
                   "$what: by the inference server") for @l;
}

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value(config => $main::Conf . $block->config);
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: a nested location
--- config
    location /v1/ { batch_api; batch_pass /lines; }
    location /lines/ {
        internal;
        proxy_pass http://inference/;
        location /lines/v1/chat/ { proxy_pass http://inference/v1/chat/; }
    }
--- flow
main::kept('nested');


=== TEST 2: an if
--- config
    location /v1/ { batch_api; batch_pass /lines; }
    location /lines/ {
        internal;
        if ($request_method = POST) {
            rewrite ^/lines(/.*)$ $1 break;
            proxy_pass http://inference;
        }
        return 418;
    }
--- flow
main::kept('if');


=== TEST 3: try_files, and a named location
--- config
    location /v1/ { batch_api; batch_pass /lines; }
    location /lines/ { internal; try_files /nothing @named; }
    location @named {
        rewrite ^/lines(/.*)$ $1 break;
        proxy_pass http://inference;
    }
--- flow
main::kept('try_files');


=== TEST 4: a rewrite, to a regex location
--- config
    location /v1/ { batch_api; batch_pass /lines; }
    location /lines/ { internal; rewrite ^/lines/(.*)$ /far/$1 last; }
    location ~ ^/far/ {
        internal;
        rewrite ^/far(/.*)$ $1 break;
        proxy_pass http://inference;
    }
--- flow
main::kept('rewrite');


=== TEST 5: error_page
--- config
    location /v1/ { batch_api; batch_pass /lines; }
    location /lines/ { internal; error_page 418 = @other; return 418; }
    location @other {
        rewrite ^/lines(/.*)$ $1 break;
        proxy_pass http://inference;
    }
--- flow
main::kept('error_page');


=== TEST 6: without buffers, and from a cache
--- http_extra
    proxy_cache_path $TEST_NGINX_BATCH_DIR/cache keys_zone=answers:1m;
--- config
    location /v1/ { batch_api; batch_pass /lines; }
    location /lines/ {
        internal;
        proxy_pass http://inference/;
        proxy_cache answers;
        proxy_cache_methods POST;
        proxy_cache_key $request_body;
        proxy_cache_valid 200 1h;
    }
--- flow
main::kept('fills the cache');
my $n = mock_stats()->{requests};
main::kept('from the cache');
is(mock_stats()->{requests}, $n, 'the upstream was not asked again');


=== TEST 7: a client of the same location is not held back
--- config
    location /v1/ { batch_api; batch_pass /lines; }
    location /lines/ { proxy_pass http://inference/; }
--- flow
main::kept('a line');
my $r = http('POST', '/lines/v1/chat/completions',
             headers => ['Content-Type' => 'application/json'],
             body => json_encode(main::steers('/steered', 0)));
is($r->{body}, '{"steered":true}', 'the client is steered');
main::kept('a line after it');
