# Batches whose location has no batch_api any more: they wait, until it is back
# or they are cancelled, and nobody else's limits are theirs.

use lib 't/lib';
use BatchTest;
use BatchRedisProxy;
use Test::Nginx::Socket 'no_plan';

our $proxy = BatchRedisProxy->start(test_dir() . '/proxy.sock',
                                    test_dir() . '/redis.sock');

sub create {
    my ($in) = @_;
    my $f = upload($in)->{json}{id};
    my $r = api('POST', '/b/batches',
                { input_file_id => $f, endpoint => '/v1/chat/completions',
                  completion_window => '24h' });

    Test::More::is($r->{status}, 200, 'created');
    return $r->{json};
}

# nobody gets anything to do, until then()

sub nobody { $proxy->fault(on => 'claim', reply => "-ERR not now\r\n") }
sub then   { $proxy->clear }

# with the location, or without

sub location {
    my ($there) = @_;
    my $conf = test_dir() . '/servroot/conf/nginx.conf';
    my $text = slurp($conf);
    my %old = map { $_ => 1 } nginx_workers();

    $text =~ s{(location /b/ \{)[^#]*#}{"$1 " . ($there ? 'batch_api;' : 'return 404;') . ' #'}e
        or die "no location\n";
    open my $out, '>', $conf or die "$conf: $!\n";
    print $out $text;
    close $out;

    kill 'HUP', nginx_pid();
    Test::More::ok(wait_until(sub {
        my @pids = nginx_workers();
        return @pids == 2 && !grep { $old{$_} } @pids;
    }, 30), $there ? 'the location is back' : 'the location is gone');
    wait_ready();
}

sub waits {
    my ($id, $status) = @_;

    Test::More::ok(wait_until(sub {
        error_log_text() =~ /$id: location "[^"]*\/b\/", where it was created, has no "batch_api" any more, the batch waits/
    }, 30), 'it waits, and says why');
    Test::More::is(get_batch($id)->{status}, $status, "it is $status");
}

our $Config = <<'CONF';
    batch_max_requests 2;
    batch_output_order completion;
    batch_file_ttl 1h;
CONF

our $Servers = <<'CONF';
location /b/ { batch_api; #
    batch_pass /batch-lines;
}
location /c/ { batch_api; batch_pass /batch-lines; }
CONF

no_long_string();
run_tests();

__DATA__

=== TEST 1: before it was validated
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- api_config eval: $main::Config
--- server_extra eval: $main::Servers
--- flow
main::nobody();
my @b = map { main::create(jsonl(5)) } 1 .. 2;
main::location(0);
main::then();
main::waits($_->{id}, 'validating') for @b;

# through another location

my $r = api('POST', "/c/batches/$b[0]{id}/cancel", undef, body => '');
is($r->{status}, 200, 'cancelled through another one');
is(wait_batch($b[0]{id}, timeout => 60)->{status}, 'cancelled', 'it ends');
is(get_batch($b[1]{id})->{status}, 'validating', 'the other one waits on');
is(mock_stats()->{requests}, 0, 'no line was sent');

main::location(1);
my $e = wait_batch($b[1]{id}, timeout => 60);
is($e->{status}, 'completed', 'and runs when it is back')
    or diag(json_encode($e));
is($e->{request_counts}{completed}, 5, 'all its lines');

# said once by each worker, not with every look

my @said = error_log_text() =~ /$b[1]{id} came in by location/g;
cmp_ok(scalar @said, '<=', 2, 'and it was not said again and again');


=== TEST 2: while its lines are sent
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- api_config eval: $main::Config
--- server_extra eval: $main::Servers
--- flow
my $b = main::create(jsonl(400, mock => 'slow=1000'));

ok(wait_until(sub { get_batch($b->{id})->{request_counts}{completed} > 10 },
              30), 'it runs');
main::location(0);
main::waits($b->{id}, 'in_progress');
main::location(1);
my $e = wait_batch($b->{id}, timeout => 90);
is($e->{status}, 'completed', 'it runs on');
is($e->{request_counts}{completed}, 400, 'all its lines');
is(join(' ', map { $_->{custom_id} } output_lines($e)),
   join(' ', map { "req-$_" } 1 .. 400), 'each of them once');


=== TEST 3: when it has all its lines
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- api_config eval: $main::Config
--- server_extra eval: $main::Servers
--- flow
my $b = main::create(jsonl(300, mock => sub { $_[0] % 3 ? '' : 'slow=1500' }));
my $k = "{batch}:b:$b->{id}";

ok(wait_until(sub {
    my ($next, $n) = @{ redis('HMGET', $k, 'next', 'chunks') };
    return $n && $next == $n }, 30), 'all its chunks are taken');
main::nobody();
ok(wait_until(sub {
    my ($done, $n) = @{ redis('HMGET', $k, 'done', 'chunks') };
    return $done == $n }, 60), 'and done');
is(get_batch($b->{id})->{output_file_id}, undef, 'but nobody ends it');
main::location(0);
main::then();

my $e = wait_batch($b->{id}, timeout => 60);
is($e->{status}, 'completed', 'it ends');
is(join(' ', map { $_->{custom_id} } output_lines($e)),
   join(' ', map { "req-$_" } 1 .. 300), 'in the order of the input');
my $f = api('GET', "/v1/files/$e->{output_file_id}")->{json};
is($f->{expires_at} - $f->{created_at}, 30 * 86400, 'and for 30 days');
