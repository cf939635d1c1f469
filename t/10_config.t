# What nginx -t refuses, in which words, and what it takes.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

my $dir = test_dir();

mkdir "$dir/$_", 0700 for qw(open real full);
chmod 0777, "$dir/open";
symlink "$dir/real", "$dir/link";
system('touch', "$dir/full/something", "$dir/plain");
chown 1, 1, "$dir/full" if $> == 0;

for (['empty-password', "\n"], ['password', "secret\n"],
     ['long-password', 'x' x 5000])
{
    open my $out, '>', "$dir/$_->[0]";
    print $out $_->[1];
    close $out;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: no store
--- store_conf
--- must_die
--- error_log
"batch_api" needs "batch_store" in the http block, for example: batch_store


=== TEST 2: no Redis
--- redis_conf
--- must_die
--- error_log
"batch_api" needs "batch_redis" in the http block, for example: batch_redis


=== TEST 3: no location to send lines to
--- config
    location ~ ^/v1/(files|batches) {
        batch_api;
    }
--- must_die
--- error_log
needs "batch_pass", the prefix of an internal location
for example: batch_pass /batch-lines;


=== TEST 4: batch_pass is no prefix
--- api_config
    batch_pass http://inference;
--- must_die
--- error_log
"batch_pass http://inference" must be the prefix of an internal location


=== TEST 5: no location of that prefix
--- http_extra
    server {
        listen 127.0.0.1:1;
        location /v1/files {
            batch_api;
            batch_pass /batch-lines;
        }
    }
--- must_die
--- error_log
"batch_pass /batch-lines": the server has no location for it; add: location /batch-lines/ { internal; proxy_pass


=== TEST 6: lines would come back to the API
--- config
    location /v1/ {
        batch_api;
        batch_pass /v1/lines/;
    }
--- must_die
--- error_log
"batch_pass /v1/lines" leads to a location with "batch_api"
give them an internal location with proxy_pass


=== TEST 7: duplicate batch_pass
--- api_config
    batch_pass /batch-lines;
    batch_pass /batch-lines;
--- must_die
--- error_log
"batch_pass" directive is duplicate


=== TEST 8: duplicate batch_store
--- store_conf
    batch_store store;
    batch_store store2;
--- must_die
--- error_log
"batch_store" directive is duplicate


=== TEST 9: duplicate batch_redis
--- redis_conf
    batch_redis 127.0.0.1:6379;
    batch_redis 127.0.0.1:6379;
--- must_die
--- error_log
"batch_redis" directive is duplicate


=== TEST 10: duplicate batch_api
--- api_config
    batch_api;
--- must_die
--- error_log
"batch_api" directive is duplicate


=== TEST 11: duplicate batch_status
--- server_extra
    location /s { batch_status; batch_status; }
--- must_die
--- error_log
"batch_status" directive is duplicate


=== TEST 12: duplicate batch_windows
--- api_config
    batch_windows 24h;
    batch_windows 24h;
--- must_die
--- error_log
"batch_windows" directive is duplicate


=== TEST 13: duplicate batch_endpoints
--- api_config
    batch_endpoints /v1/completions;
    batch_endpoints /v1/completions;
--- must_die
--- error_log
"batch_endpoints" directive is duplicate


=== TEST 14: duplicate batch_thread_pool
--- http_extra
    batch_thread_pool default;
    batch_thread_pool default;
--- must_die
--- error_log
"batch_thread_pool" directive is duplicate


=== TEST 15: a window without a unit
--- api_config
    batch_windows 24;
--- must_die
--- error_log
invalid window "24" in "batch_windows": write unlimited or a number with m, h or d


=== TEST 16: a window of nothing
--- api_config
    batch_windows 24h 0h;
--- must_die
--- error_log
invalid window "0h" in "batch_windows"


=== TEST 17: a window of seconds
--- api_config
    batch_windows 10s;
--- must_die
--- error_log
invalid window "10s" in "batch_windows"


=== TEST 18: an endpoint without a slash
--- api_config
    batch_endpoints v1/completions;
--- must_die
--- error_log
invalid endpoint "v1/completions" in "batch_endpoints": write it as a line's url has it


=== TEST 19: an endpoint that climbs
--- api_config
    batch_endpoints /v1/../admin;
--- must_die
--- error_log
invalid endpoint "/v1/../admin" in "batch_endpoints"


=== TEST 20: an endpoint with a query
--- api_config
    batch_endpoints /v1/completions?x=1;
--- must_die
--- error_log
invalid endpoint "/v1/completions?x=1" in "batch_endpoints"


=== TEST 21: an endpoint with an empty segment
--- api_config
    batch_endpoints //v1;
--- must_die
--- error_log
invalid endpoint "//v1" in "batch_endpoints"


=== TEST 22: Redis at an impossible port
--- redis_conf
    batch_redis 127.0.0.1:99999;
--- must_die
--- error_log
in "batch_redis 127.0.0.1:99999": give host:port or unix:/path


=== TEST 23: an unknown option
--- redis_conf
    batch_redis 127.0.0.1:6379 tls=on;
--- must_die
--- error_log
invalid option "tls=on" in "batch_redis": known are db=<number>, user=<name>, password_file=<path>


=== TEST 24: a database that is no number
--- redis_conf
    batch_redis 127.0.0.1:6379 db=one;
--- must_die
--- error_log
invalid option "db=one" in "batch_redis"


=== TEST 25: a prefix that would break the hash tag
--- redis_conf
    batch_redis 127.0.0.1:6379 "prefix=a{b";
--- must_die
--- error_log
invalid option "prefix=a{b" in "batch_redis"


=== TEST 26: an empty prefix
--- redis_conf
    batch_redis 127.0.0.1:6379 prefix=;
--- must_die
--- error_log
invalid option "prefix=" in "batch_redis"


=== TEST 27: an empty user
--- redis_conf
    batch_redis 127.0.0.1:6379 user=;
--- must_die
--- error_log
invalid option "user=" in "batch_redis"


=== TEST 28: no time at all
--- redis_conf
    batch_redis 127.0.0.1:6379 timeout=0;
--- must_die
--- error_log
invalid option "timeout=0" in "batch_redis"


=== TEST 29: a password file that is not there
--- redis_conf
    batch_redis 127.0.0.1:6379 password_file=$TEST_NGINX_BATCH_DIR/none;
--- must_die
--- error_log
"batch_redis" cannot open password_file
No such file or directory


=== TEST 30: a password file without a password
--- redis_conf
    batch_redis 127.0.0.1:6379 password_file=$TEST_NGINX_BATCH_DIR/empty-password;
--- must_die
--- error_log
of "batch_redis" must hold the password in one line


=== TEST 31: a password file that is something else
--- redis_conf
    batch_redis 127.0.0.1:6379 password_file=$TEST_NGINX_BATCH_DIR/long-password;
--- must_die
--- error_log
of "batch_redis" must hold the password in one line


=== TEST 32: no lines at a time
--- api_config
    batch_concurrency 0;
--- must_die
--- error_log
value must be between 1 and 65535


=== TEST 33: too many retries
--- api_config
    batch_retries 1001;
--- must_die
--- error_log
value must be between 0 and 1000


=== TEST 34: an unknown thread pool
--- http_extra
    batch_thread_pool nosuch;
--- must_die
--- error_log
unknown thread pool "nosuch"


=== TEST 35: an unknown order
--- api_config
    batch_output_order random;
--- must_die
--- error_log
invalid value "random"


=== TEST 49: lines that are neither strict nor lenient
--- api_config
    batch_lines openai;
--- must_die
--- error_log
invalid value "openai"


=== TEST 36: the store is a link
--- store_conf
    batch_store $TEST_NGINX_BATCH_DIR/link;
--- must_die
--- error_log
is a symbolic link or not a directory, name the directory itself


=== TEST 37: the store is a file
--- store_conf
    batch_store $TEST_NGINX_BATCH_DIR/plain;
--- must_die
--- error_log
is a symbolic link or not a directory, name the directory itself


=== TEST 38: everybody can write into the store
--- store_conf
    batch_store $TEST_NGINX_BATCH_DIR/open;
--- must_die
--- error_log
can be written by its group or by others, run "chmod -R go-rwx


=== TEST 39: the store is somebody else's
--- skip_eval: 2: $> != 0
--- store_conf
    batch_store $TEST_NGINX_BATCH_DIR/full;
--- must_die
--- error_log
belongs to user 1, not to the workers' user
run "chown -R


=== TEST 40: the store's parent is not there
--- store_conf
    batch_store $TEST_NGINX_BATCH_DIR/no/such/place;
--- must_die
--- error_log
"batch_store": cannot make directory
make the directory above it


=== TEST 41: the API is one location's
--- http_extra
    batch_api;
--- must_die
--- error_log
"batch_api" directive is not allowed here


=== TEST 42: the store is the whole server's
--- api_config
    batch_store x;
--- must_die
--- error_log
"batch_store" directive is not allowed here


=== TEST 43: lines' location is open to clients
--- config
    location = /up { return 200 "up\n"; }
    location /v1/ {
        batch_api;
        batch_pass /lines;
    }
    location /lines/ {
        proxy_pass http://inference/;
    }
--- request
GET /up
--- response_body
up
--- error_log
location "/lines/" of "batch_pass /lines" is open to clients: add "internal;" to it


=== TEST 44: nothing wrong, nothing said
--- flow
my $text = error_log_text();
unlike($text, qr/\[(warn|error|crit|alert|emerg)\]/, 'nothing logged');
is((stat(store_dir()))[2] & 07777, 0700, 'the store is ours alone');


=== TEST 45: all directives at once
--- redis_conf
    batch_redis $TEST_NGINX_REDIS db=1 prefix=other timeout=3s;
--- http_extra
    batch_thread_pool default;
    batch_concurrency 8;
    batch_retries 2;
    batch_timeout 10s;
    batch_endpoints /v1/chat/completions /v1/own-endpoint;
    batch_windows 30m 24h 7d unlimited;
    batch_max_requests 100;
    batch_max_file_size 1m;
    batch_output_order completion;
    batch_file_ttl 1d;
--- concurrency
4
--- flow
my $b = run_batch(jsonl(3), completion_window => '30m');
is($b->{status}, 'completed', 'runs');
is($b->{expires_at} - $b->{created_at}, 1800, 'its window');

redis('SELECT', 0);
is_deeply(redis('KEYS', '*'), [], 'nothing in database 0');

$b = create_batch($b->{input_file_id}, completion_window => '48h');
is($b->{status}, 400, 'another window is refused');


=== TEST 46: two servers with the same location, and a batch in each
--- http_extra eval
my $port = $main::Port2 = BatchTest::free_port();
<<"CONF";
    server {
        listen 127.0.0.1:$port;
        location /v1/ { batch_api; batch_pass /lines; }
        location /lines/ {
            internal;
            proxy_pass http://inference/;
            proxy_set_header X-Batch-Line second;
        }
    }
CONF
--- flow
my @two = (port => $main::Port2);
my $f = upload(jsonl(2, prefix => 'second-'), @two);
my $b = create_batch($f->{json}{id}, http => \@two);

is($b->{status}, 200, 'created in the second server');
is(wait_batch($b->{json}{id}, http => \@two)->{status}, 'completed', 'runs');

my @lines = map { $_->{line} } @{ mock_get('/mock/log')->{data} };
is_deeply(\@lines, ['second', 'second'], 'through its own location');

is(run_batch(jsonl(2))->{status}, 'completed', 'and in the first');


=== TEST 47: the module loaded, but not used
--- http_config
--- config
    location = /up { return 200 "up\n"; }
    location = /batch-status { batch_status; }
--- flow
is(http('GET', '/batch-status')->{status}, 503, 'no state to tell');


=== TEST 48: another user of the workers, named behind the http block
--- flow
SKIP: {
    skip('only root can change users', 3) if $> != 0;

    my $root = test_dir() . '/servroot';
    my $text = slurp("$root/conf/nginx.conf");

    $text =~ s/^user root;/user nobody root;/m or die 'no user';
    open my $out, '>', "$root/conf/nobody.conf";
    print $out $text;
    close $out;

    my $said = `$ENV{TEST_NGINX_BINARY} -t -p $root/ -c conf/nobody.conf 2>&1`;

    isnt($?, 0, 'refused');
    like($said, qr/belongs to user 0, not to the workers' user \d+, run "chown -R/,
         'says why');
    is(run_batch(jsonl(1))->{status}, 'completed', 'the server goes on');
}
--- no_error_log
exited on signal
