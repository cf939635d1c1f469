# What Redis lets nginx do, and how it is set up: the user of docs/OPERATIONS.md has
# the rights for everything; settings that lose data are said at start.

use lib 't/lib';
use BatchTest;
use BatchHook;
use Test::Nginx::Socket 'no_plan';

our $ACL;

# the user as the document has it, with another password

BEGIN {
    my $doc = BatchTest::slurp('docs/OPERATIONS.md');

    ($ACL) = $doc =~ /^(ACL SETUSER nginx on >password .*?)^```/ms
        or die "docs/OPERATIONS.md: no ACL SETUSER";
    $ACL =~ s/>password/>not-for-the-log/;

    open my $out, '>', test_dir() . '/redis.pw' or die;
    print $out "not-for-the-log\n";
    close $out;
}

sub user { return redis(split ' ', $ACL) }

no_long_string();
run_tests();

__DATA__

=== TEST 1: the documented user may do all that is needed
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/redis.sock user=nginx
                password_file=$TEST_NGINX_BATCH_DIR/redis.pw;
--- api_config
    batch_webhook /batch-webhook secret=whsec_MDEyMzQ1Njc4OWFiY2RlZg==;
    batch_quota files=20 bytes=1m batches=10 lines=1000;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
redis refused
--- flow
is(api('GET', '/v1/files')->{status}, 503, 'nobody was let in');
is(main::user(), 'OK', 'the user');
ok(wait_until(sub { wait_ready() }, 20), 'let in');

my $f = upload(jsonl(300, mock => sub { $_[0] % 7 ? '' : 'status=400' }))->{json};
ok($f->{id}, 'a file');
my $b = wait_batch(create_batch($f->{id})->{json}{id});
is($b->{status}, 'completed', 'a batch');
is(wait_hooks(1), 1, 'its webhook');
ok(wait_until(sub { my $s = api('GET', '/batch-status')->{json}{webhooks};
                    $s->{delivered} == 1 && $s->{pending} == 0 }, 20),
   'which is done with');
is(wait_batch(create_batch(upload("{}\n")->{json}{id})->{json}{id})->{status},
   'failed', 'one that fails');

my $c = create_batch(upload(jsonl(4, mock => 'hang'))->{json}{id})->{json};
wait_batch($c->{id}, until => qr/in_progress/);
is(cancel_batch($c->{id})->{status}, 200, 'a cancellation');
is(wait_batch($c->{id})->{status}, 'cancelled', 'cancelled');

my $in = jsonl(3);
my $u = api('POST', '/v1/uploads', { purpose => 'batch', filename => 'u.jsonl',
    bytes => length $in, mime_type => 'application/jsonl' })->{json};
my ($body, $type) = multipart(data => { data => $in, filename => 'p',
                                        type => 'application/octet-stream' });
my $p = api('POST', "/v1/uploads/$u->{id}/parts", undef, body => $body,
            headers => ['Content-Type' => $type])->{json};
is(api('POST', "/v1/uploads/$u->{id}/complete", { part_ids => [$p->{id}] })
   ->{status}, 200, 'an upload in parts');

for my $path ("/v1/files?after=$f->{id}", "/v1/files?order=asc&limit=1",
              "/v1/files?order=asc&after=$f->{id}&purpose=batch",
              "/v1/batches?after=$b->{id}&limit=1", "/v1/batches/$b->{id}",
              "/v1/files/$b->{output_file_id}/content")
{
    is(http('GET', $path)->{status}, 200, $path);
}

is(http('DELETE', "/v1/files/$f->{id}")->{status}, 200, 'a deletion');
my @all = (api('GET', '/v1/files')->{json}, api('GET', '/v1/batches')->{json});

redis('FLUSHALL');
ok(wait_until(sub { http('GET', "/v1/batches/$b->{id}")->{status} == 200
                    && wait_ready() }, 20), 'a rebuild');
is_deeply([api('GET', '/v1/files')->{json}, api('GET', '/v1/batches')->{json}],
          \@all, 'all is there');
is_deeply([grep { /NOPERM|can't run this/ } split /\n/, error_log_text()], [],
          'nothing was refused');

# what is no use to it is not given away either

my @scripts = glob 'src/*/*.lua';
cmp_ok(scalar @scripts, '>', 20, 'scripts are found');
my %used = map { lc($_) => 1 } qw(ping info select eval evalsha),
    map { BatchTest::slurp($_) =~ /'([A-Z]+)'/g } @scripts;
is_deeply([grep { !$used{$_} } $main::ACL =~ /\+(\w+)/g], [], 'no right too many');
redis('ACL', 'DELUSER', 'nginx');


=== TEST 2: settings by which something may be lost
--- flow
unlike(error_log_text(), qr/may evict keys|append-only/, 'nothing to say');
redis('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
redis('CONFIG', 'SET', 'appendonly', 'no');
ok(nginx_stop('QUIT') && nginx_start(), 'started anew');
ok(wait_until(sub { wait_ready()
                    && error_log_text() =~ /append-only/ }, 20), 'it is said');
my @said = grep { /may evict keys|append-only/ } split /\n/, error_log_text();
is(scalar @said, 2, 'once each, not by each worker');
like($said[0], qr/\[error\] .* may evict keys .*allkeys-lru/, 'the policy');
like($said[1], qr/\[warn\] .* keeps no append-only file.*"redis-cli config /,
     'no file, and what to do');
redis('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
redis('CONFIG', 'SET', 'appendonly', 'yes');
is(run_batch(jsonl(2))->{status}, 'completed', 'it works all the same');


=== TEST 3: a user that is not let in says what it is
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/redis.sock user=nginx
                password_file=$TEST_NGINX_BATCH_DIR/redis.pw;
--- flow
my $r = api('GET', '/v1/files');
is($r->{status}, 503, 'no API');
ok($r->{headers}{'retry-after'}, 'to be tried again');
is(http('GET', '/up')->{status}, 200, 'nginx serves the rest');
like(error_log_text(), qr/\[error\] .* redis .* is down: WRONGPASS/, 'why');
unlike(error_log_text(), qr/not-for-the-log/, 'and no password in the log');
is(main::user(), 'OK', 'the user comes');
ok(wait_until(sub { wait_ready() }, 20), 'and is let in, without a reload');
redis('ACL', 'DELUSER', 'nginx');


=== TEST 4: a user who may not ask which server it is
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/redis.sock user=nginx
                password_file=$TEST_NGINX_BATCH_DIR/redis.pw;
--- flow
is(redis(split(' ', $main::ACL), '-info'), 'OK', 'the user');
ok(wait_until(sub { wait_ready() }, 20), 'let in');
like(error_log_text(), qr/\[error\] .* does not answer "INFO replication"/,
     'what is not noticed then is said');
is(run_batch(jsonl(2))->{status}, 'completed', 'it works all the same');
redis('ACL', 'DELUSER', 'nginx');
