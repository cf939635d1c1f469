use lib 't/lib';
use BatchTest;
use BatchClock;
use BatchHook;
use Test::Nginx::Socket 'no_plan';

# Ended batches go: after batch_retention, and beyond ended= of batch_quota.
# Their results, which are files, stay until they expire or are deleted.

our $DAY = 86400;

{
    open my $out, '>', test_dir() . '/hook-secret' or die;
    print $out "the secret word\n";
}

sub gone { api('GET', "/v1/batches/$_[0]{id}")->{status} == 404 }

sub dir { (glob(store_dir() . "/batches/*/$_[0]{id}"))[0] }

sub names {
    my ($b) = @_;
    my @names = map { s{.*/}{}r } glob(dir($b) . '/*');

    return "@names";
}

# whatever Redis has under the batch's name

sub traces {
    my ($b) = @_;
    my @keys = grep { !/:bd:/ } @{ redis('KEYS', "*$b->{id}*") };

    for my $key (@{ redis('KEYS', '*') }) {
        push @keys, $key if redis('TYPE', $key) eq 'zset'
                            && defined redis('ZSCORE', $key, $b->{id});
    }

    return "@keys";
}

sub listed { join ' ', map { $_->{id} }
                       @{ api('GET', '/v1/batches?limit=100')->{json}{data} } }

no_long_string();
run_tests();

__DATA__

=== TEST 1: after the retention a batch is gone, and its result stays
--- http_extra
    batch_retention 90d;
--- api_config
    batch_file_ttl 0;
--- flow
my $b = run_batch(jsonl(3, mock => sub { $_[0] == 2 ? 'status=400' : '' }));
my $bad = run_batch("{}\nx\n");
my ($out, $err) = @$b{qw(output_file_id error_file_id)};
my $text = content($out);

clock_step(89 * $main::DAY);
timers_pass(11_000);

my $new = run_batch(jsonl(1));

ok(!main::gone($_), 'it stays for 89 days') for $b, $bad;

clock_step(2 * $main::DAY);
timers_pass(11_000);
ok(wait_until(sub { timers_pass(11_000); main::gone($_) }, 60),
   'after 91 days it is gone') for $b, $bad;
is(main::listed(), $new->{id}, 'from lists, too');
is(main::names($_), 'deleted.json', 'and from disk') for $b, $bad;
is(main::traces($_), '', 'and from Redis') for $b, $bad;

is(content($out), $text, 'the output file is there');
is(api('GET', "/v1/files/$err")->{status}, 200, 'and the error file');
is(cancel_batch($b->{id})->{status}, 404, 'it cannot be cancelled');

redis('FLUSHALL');
wait_answer('/v1/batches');
is(main::listed(), $new->{id}, 'a rebuild brings nothing back');
is(content($out), $text, 'and the file has its manifest');
is(api('DELETE', "/v1/files/$out")->{status}, 200, 'which can be deleted');



=== TEST 2: the tombstone goes two days later, by the walk
--- http_extra
    batch_retention 1h;
--- flow
my $b = run_batch(jsonl(1));
my $dir = main::dir($b);

clock_step(7200);
ok(wait_until(sub { timers_pass(11_000); main::gone($b) }, 60), 'it is gone');
ok(wait_until(sub { main::names($b) eq 'deleted.json' }, 20), 'a tombstone');

utime time - 3 * $main::DAY, time - 3 * $main::DAY, "$dir/deleted.json" or die;
ok(wait_until(sub { timers_pass(3_700_000); !-e $dir }, 60),
   'the directory goes');



=== TEST 3: beyond ended= the oldest go, of each tenant by itself
--- api_config
    batch_tenant $http_x_tenant;
    batch_quota ended=2;
--- flow
my @h = (headers => ['X-Tenant' => 'a']);
my @a;

for (1 .. 4) {
    my $f = upload(jsonl(1), @h)->{json}{id};
    my $r = api('POST', '/v1/batches',
                { input_file_id => $f, endpoint => '/v1/chat/completions',
                  completion_window => '24h' }, @h);

    ok(wait_until(sub {
        (api('GET', "/v1/batches/$r->{json}{id}", undef, @h)->{json}{status}
         // '') eq 'completed' }, 30), "batch $_ has ended");
    push @a, $r->{json}{id};
    clock_step(2);
}

my $list = sub {
    join ' ', map { $_->{id} }
              @{ api('GET', '/v1/batches', undef, @h)->{json}{data} }
};

ok(wait_until(sub { timers_pass(11_000); $list->() eq "$a[3] $a[2]" }, 60),
   'the newest two stay') or diag($list->());

redis('FLUSHALL');
ok(wait_until(sub { ($list->() // '') eq "$a[3] $a[2]" }, 30),
   'also after a rebuild');
is(scalar(@{ api('GET', '/v1/files?purpose=batch_output', undef, @h)
             ->{json}{data} }), 4, 'results stay');



=== TEST 4: a key that is used again brings nothing back
--- http_extra
    batch_retention 1h;
--- flow
my $f = upload(jsonl(1))->{json}{id};
my %c = (input_file_id => $f, endpoint => '/v1/chat/completions',
         completion_window => '24h');
my @key = (headers => ['Idempotency-Key' => 'k']);
my $b = api('POST', '/v1/batches', \%c, @key)->{json};

wait_batch($b->{id});
clock_step(7200);
ok(wait_until(sub { timers_pass(11_000); main::gone($b) }, 60), 'it is gone');
ok(wait_until(sub { main::names($b) eq 'deleted.json' }, 20), 'a tombstone');

my $again = api('POST', '/v1/batches', \%c, @key);

is($again->{status}, 200, 'the request is answered');
is($again->{json}{id}, $b->{id}, 'with the same batch');
ok(main::gone($b), 'which is gone');
is(main::names($b), 'deleted.json', 'also from disk');

# even without the mark that Redis keeps for an hour

redis('FLUSHALL');
wait_answer('/v1/batches');
is(api('POST', '/v1/batches', \%c, @key)->{json}{id}, $b->{id}, 'again');
ok(main::gone($b), 'still gone');
is(mock_stats()->{requests}, 1, 'and its line was sent once');



=== TEST 5: an index that is older than the deletion
--- http_extra
    batch_retention 1h;
--- flow
my $b = run_batch(jsonl(1));
my $p = (grep { /:gen$/ } @{ redis('KEYS', '*:gen') })[0] =~ s/gen$//r;
my @was = map { { key => $_, dump => redis('DUMP', $_) } }
          grep { !/:gen/ } @{ redis('KEYS', '*') };

clock_step(7200);
ok(wait_until(sub { timers_pass(11_000); main::gone($b) }, 60), 'it is gone');

redis('FLUSHALL');
redis('RESTORE', $_->{key}, 0, $_->{dump}) for @was;
is(redis('EXISTS', "${p}b:$b->{id}"), 1, 'Redis has it again');
wait_answer('/v1/batches');
ok(main::gone($b), 'the rebuild removes it');
is(main::traces($b), '', 'without a trace');



=== TEST 6: a batch whose webhook is not delivered stays until it is
--- http_extra
    batch_retention 1h;
--- api_config
    batch_webhook /batch-webhook secret_file=$TEST_NGINX_BATCH_DIR/hook-secret;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
--- flow
my $b = run_batch(jsonl(1));
my $hd = (grep { /:gen$/ } @{ redis('KEYS', '*:gen') })[0] =~ s/gen$/hd/r;

# it is not delivered yet, and not due for long

wait_until(sub { !defined redis('ZSCORE', $hd, $b->{id}) }, 20);
redis('ZADD', $hd, 1000 * (time + 7200 + 3000), $b->{id});
clock_step(7200);

my $be = $hd =~ s/hd$/be/r;
my $at = redis('ZSCORE', $be, $b->{id});

ok(wait_until(sub { timers_pass(11_000);
                    redis('ZSCORE', $be, $b->{id}) > $at }, 60),
   'it is put off');
ok(!main::gone($b), 'and stays');

redis('ZREM', $hd, $b->{id});
clock_step(120);
ok(wait_until(sub { timers_pass(11_000); main::gone($b) }, 60),
   'when it is delivered, the batch goes');
