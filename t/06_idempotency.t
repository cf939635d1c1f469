use lib 't/lib';
use BatchTest;
use BatchDamage;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

# Idempotency-Key on POST /v1/files and POST /v1/batches.

sub key { return (headers => ['Idempotency-Key' => $_[0], @_[1 .. $#_]]) }

sub is_reused {
    my ($r, $name) = @_;

    is($r->{status}, 409, $name);
    is($r->{json}{error}{code}, 'idempotency_key_reused', "$name: code");
    is($r->{json}{error}{type}, 'invalid_request_error', "$name: type");
    is($r->{headers}{'x-should-retry'}, 'false', "$name: x-should-retry");
}

sub files { return $#{ api('GET', '/v1/files', undef, @_)->{json}{data} } + 1 }

sub batches {
    return $#{ api('GET', '/v1/batches', undef, @_)->{json}{data} } + 1;
}

run_tests();

__DATA__

=== TEST 1: files
--- flow
my $data = jsonl(5);
my $r = upload($data, key('k1'));
my $id = $r->{json}{id};

is($r->{status}, 200, 'the first');

for my $o ({}, { chunked => 100 }, { file_first => 1 }) {
    my $s = upload($data, key('k1'), %$o);
    is($s->{body}, $r->{body}, 'the same object');
}

is(files(), 1, 'one file');
is(scalar(() = glob(store_dir() . '/files/*/*')), 2, 'one blob, one manifest');
is(scalar(() = glob(store_dir() . '/tmp/*')), 0, 'no tmp file');

is_reused(upload("$data\n", key('k1')), 'other content');
is_reused(upload($data, key('k1'), filename => 'b'), 'another name');
is_reused(upload($data, key('k1'), purpose => 'evals'), 'another purpose');
is_reused(upload($data, key('k1'), fields =>
                 ['expires_after[anchor]' => 'created_at',
                  'expires_after[seconds]' => 3600]), 'another life');
is_reused(create_batch($id, http => [key('k1')]), 'another endpoint');
is(scalar(() = glob(store_dir() . '/tmp/*')), 0, 'no tmp file');

isnt(upload($data, key('k2'))->{json}{id}, $id, 'another key');
isnt(upload($data)->{json}{id}, $id, 'no key');
is(files(), 3, 'three files');

# what was refused has used no key

is(upload('x', key('k3'))->{status}, 400, 'refused');
is(upload($data, key('k3'))->{status}, 200, 'its key is free');

# deleted is deleted

api('DELETE', "/v1/files/$id");
is(upload($data, key('k1'))->{body}, $r->{body}, 'the same answer');
is(api('GET', "/v1/files/$id")->{status}, 404, 'the file is not back');
is(scalar(() = glob(store_dir() . "/files/*/$id")), 0, 'nor its blob');



=== TEST 2: batches
--- flow
my $f = upload(jsonl(3))->{json}{id};
my $r = create_batch($f, http => [key('k1')]);
my $id = $r->{json}{id};

is($r->{status}, 200, 'the first');
is(create_batch($f, http => [key('k1')])->{json}{id}, $id, 'the same');
is(wait_batch($id)->{status}, 'completed', 'it completes');

my $s = create_batch($f, http => [key('k1')]);
is($s->{json}{id}, $id, 'the same, later');
is($s->{json}{status}, 'completed', 'as it is now');
is(batches(), 1, 'one batch');

is_reused(create_batch($f, http => [key('k1')], metadata => { a => 'b' }),
          'another body');
is_reused(upload(jsonl(1), key('k1')), 'another endpoint');
isnt(create_batch($f, http => [key('k2')])->{json}{id}, $id, 'another key');



=== TEST 3: the key itself
--- flow
my $f = upload(jsonl(1))->{json}{id};

for (['a' x 255, 200], ['a' x 256, 400], ["\xc3\xa4", 400], ["a\tb", 400],
     ['a b~!"', 200], ['', 400])
{
    my $r = create_batch($f, http => [key($_->[0])]);

    is($r->{status}, $_->[1], 'a key of ' . length $_->[0]);
    is($r->{json}{error}{code}, 'invalid_idempotency_key', 'code')
        if $_->[1] == 400;
    is(upload(jsonl(1), key($_->[0]))->{status},
       $_->[1] == 200 ? 409 : 400, 'of an upload');
}

my $r = create_batch($f, http => [key('a', 'Idempotency-Key' => 'a')]);
is($r->{status}, 400, 'two keys');



=== TEST 4: at the same time
--- flow
my $data = jsonl(500);
my ($body, $type) = multipart(purpose => 'batch',
                              file => { data => $data, filename => 'a' });
my @c = map { BatchRaw->new } 1 .. 8;
my %id;

$_->send("POST /v1/files HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n"
         . "Content-Type: $type\r\nContent-Length: " . length($body)
         . "\r\n\r\n" . substr $body, 0, 1000) for @c;
$_->send(substr $body, 1000) for @c;
$id{ $_->answer->{body} }++ for @c;

is(join(' ', values %id), 8, 'eight equal answers');
is(files(), 1, 'one file');
is(scalar(() = glob(store_dir() . '/files/*/*')), 2, 'and nothing else');

my $f = json_decode((keys %id)[0])->{id};
my $json = json_encode({ input_file_id => $f, completion_window => '24h',
                         endpoint => '/v1/chat/completions' });

%id = ();
$_->send("POST /v1/batches HTTP/1.1\r\nHost: x\r\nIdempotency-Key: kk\r\n"
         . 'Content-Length: ' . length($json) . "\r\n\r\n$json") for @c;
$id{ $_->answer->{json}{id} }++ for @c;

is(join(' ', values %id), 8, 'eight times the same batch');
is(batches(), 1, 'one batch');
is(wait_batch((keys %id)[0])->{request_counts}{completed}, 500, 'it runs');



=== TEST 5: tenants do not share keys
--- api_config
batch_tenant $http_x_tenant;
--- flow
my $data = jsonl(1);
my $a = upload($data, key('k', 'X-Tenant' => 'a'));
my $b = upload("$data\n", key('k', 'X-Tenant' => 'b'));

is($b->{status}, 200, 'the same key of another');
isnt($b->{json}{id}, $a->{json}{id}, 'another file');
is(upload($data, key('k', 'X-Tenant' => 'a'))->{body}, $a->{body}, 'its own');



=== TEST 6: an emptied Redis, a crash behind the record, and 24 hours
--- flow
my $data = jsonl(2);
my $f = upload($data, key('f'))->{json};
my $b = create_batch($f->{id}, http => [key('b')])->{json};

is(wait_batch($b->{id})->{status}, 'completed', 'completed');

nginx_stop('KILL');
redis('FLUSHALL');
nginx_start();
wait_ready();

is(upload($data, key('f'))->{json}{id}, $f->{id}, 'the same file');
is(create_batch($f->{id}, http => [key('b')])->{json}{id}, $b->{id},
   'the same batch');

# the record is there, what it names is not

nginx_stop('KILL');
unlink glob(store_dir() . "/files/*/$f->{id}*");
system 'rm', '-r', glob(store_dir() . "/batches/*/$b->{id}");
redis('FLUSHALL');
nginx_start();
wait_ready();

is_deeply(upload($data, key('f'))->{json}, $f, 'published as it was');
is(content($f->{id}), $data, 'content');
is(create_batch($f->{id}, http => [key('b')])->{json}{id}, $b->{id},
   'the same batch');
is(wait_batch($b->{id})->{status}, 'completed', 'it runs');

# the record of yesterday counts until it is 24 hours old

for (['23 hours', 23, 1], ['25 hours', 25, 0]) {
    my ($name, $hours, $same) = @$_;
    my ($old) = grep { slurp($_) =~ /$b->{id}/ } glob(store_dir() . '/keys/*');
    my $r = json_decode(slurp($old));
    my $at = (time() - $hours * 3600) * 1e6;
    my ($key) = $old =~ m{/([0-9a-f]{40})\.\d+$};
    my $new = store_dir() . "/keys/$key." . int($at / 86400e6);

    $r->{at} = $at;
    rename $old, $new;
    delete $r->{crc};
    BatchDamage::manifest($new, json_encode($r));

    my $id = create_batch($f->{id}, http => [key('b')])->{json}{id};
    is($id eq $b->{id} ? 1 : 0, $same, "after $name");
}

# the sweep at the start of a worker

utime time() - 100000, time() - 100000, glob(store_dir() . '/keys/*');
nginx_stop('QUIT');
nginx_start();
ok(wait_until(sub { !glob(store_dir() . '/keys/*') }), 'old records are gone');



=== TEST 7: dialect impala: the input was deleted since
--- http_extra
    batch_dialect impala;
    batch_job  job-1;
--- flow
my %ok = (completion_window => 'unlimited', job_id => 'job-1');
my $f = upload(jsonl(2))->{json}{id};
my $r = create_batch($f, %ok, http => [key('k')]);

is($r->{status}, 200, 'the first');
is(wait_batch($r->{json}{id})->{status}, 'completed', 'it completes');
api('DELETE', "/v1/files/$f");

my $s = create_batch($f, %ok, http => [key('k')]);
is($s->{status}, 200, 'the same request');
is($s->{json}{id}, $r->{json}{id}, 'the same batch');
is($s->{json}{status}, 'completed', 'as it is now');
is_reused(create_batch($f, %ok, metadata => { a => 'b' }, http => [key('k')]),
          'another request');
is(create_batch($f, %ok, http => [key('l')])->{status}, 404, 'another key');
is(create_batch($f, %ok)->{status}, 404, 'no key');

# what was refused has used no key

$f = upload(jsonl(1))->{json}{id};
is(create_batch($f, %ok, http => [key('l')])->{status}, 200, 'it is free');



=== TEST 8: what it named is not configured any more
--- http_extra
    batch_dialect impala;
    batch_job  job-1 model=m;
    batch_job  job-2;
--- api_config
    batch_quota batches=1;
--- flow
my $conf = test_dir() . '/servroot/conf/nginx.conf';
my $text = slurp($conf);

sub main::configure {
    my ($now) = @_;
    open my $out, '>', $conf or die "$conf: $!\n";
    print $out $now;
    close $out;
    my %old = map { $_ => 1 } nginx_workers();
    kill 'HUP', nginx_pid();
    ok(wait_until(sub {
        my @pids = nginx_workers();
        return @pids == 2 && !grep { $old{$_} } @pids;
    }, 30), 'reloaded');
    wait_ready();
}

my %ok = (completion_window => 'unlimited', job_id => 'job-1');
my $f = upload(jsonl(2))->{json}{id};
my $r = create_batch($f, %ok, http => [key('k')]);
is($r->{status}, 200, 'the first');
my $done = wait_batch($r->{json}{id});
is($done->{status}, 'completed', 'it completes');

# its job, its window, its endpoint: each alone, and what others get

for (['the job', sub { s/^\s*batch_job\s+job-1[^;]*;//m }, 404],
     ['the window', sub { s/(batch_api;)/$1 batch_windows 1h;/ }, 422],
     ['the endpoint', sub { s{(batch_api;)}{$1 batch_endpoints /v1/embeddings;} },
      422])
{
    my ($name, $change, $status) = @$_;
    my $now = $text;
    $change->() for $now;
    isnt($now, $text, "$name: removed");
    main::configure($now);

    my $s = create_batch($f, %ok, http => [key('k')]);
    is($s->{status}, 200, "$name: the same request") or diag($s->{body});
    is_deeply($s->{json}, $done, "$name: the same batch, as it is now");
    is(create_batch($f, %ok, http => [key('l')])->{status}, $status,
       "$name: another key");
    is(create_batch($f, %ok)->{status}, $status, "$name: no key");
    is_reused(create_batch($f, %ok, metadata => { a => 'b' },
                           http => [key('k')]), "$name: another request");
}

# a crash behind the record: what is repeated makes it, though nobody else could

my $g = upload(jsonl(3))->{json}{id};
main::configure($text);
$r = create_batch($g, %ok, http => [key('m')]);
is($r->{status}, 200, 'one more');
is(wait_batch($r->{json}{id})->{status}, 'completed', 'it is done');
nginx_stop('QUIT');
system 'rm', '-r', glob store_dir() . "/batches/*/$r->{json}{id}";
redis('FLUSHALL');
open my $out, '>', $conf or die;
print $out $text =~ s/^\s*batch_job\s+job-1[^;]*;//mr;
close $out;
nginx_start() or die 'nginx does not start';
wait_ready();

is(http('GET', "/v1/batches/$r->{json}{id}")->{status}, 404, 'it is gone');
my $s = create_batch($g, %ok, http => [key('m')]);
is($s->{status}, 200, 'the same request') or diag($s->{body});
is($s->{json}{id}, $r->{json}{id}, 'the same batch');
is(wait_batch($s->{json}{id})->{status}, 'completed', 'it is done again');
