# Redis comes back with less than it had: an older append-only file, as after a
# crash without fsync, a failover to a replica that lagged, or a backup.  What
# the disk knows counts.

use lib 't/lib';
use BatchTest;
use BatchDamage;
use File::Path qw(remove_tree);
use Test::Nginx::Socket 'no_plan';

# what Redis has at this moment, as its file

sub keep {
    my $dir = test_dir();

    remove_tree("$dir/aof.$_[0]");
    Test::More::is(system('cp', '-a', "$dir/appendonlydir", "$dir/aof.$_[0]"),
                   0, "kept: $_[0]");
}

# Redis dies, and comes back with what it had then; what clients hear of the
# paths until all is well again

sub rewind {
    my ($name, @paths) = @_;
    my $dir = test_dir();
    my %seen;

    redis_stop('KILL');
    remove_tree("$dir/appendonlydir");
    Test::More::is(system('cp', '-a', "$dir/aof.$name", "$dir/appendonlydir"),
                   0, "back to: $name");
    redis_start();

    Test::More::ok(wait_until(sub {
        my $busy = 0;

        for my $path (@paths, '/v1/files?limit=1') {
            my $r = http('GET', $path, timeout => 5);
            $seen{$path}{$r->{status}}++;
            $busy = 1 if $r->{status} == 503;
        }

        return !$busy && wait_ready();
    }, 20), 'filled again');

    return map { join ' ', grep { $_ != 503 } sort keys %{ $seen{$_} } } @paths;
}

sub each_once {
    my ($b, $n) = @_;

    Test::More::is($b->{status}, 'completed', 'completed');
    Test::More::is_deeply($b->{request_counts},
        { total => $n, completed => $n, failed => 0 }, 'counts');

    my $r = wait_answer("/v1/files/$b->{output_file_id}/content");
    Test::More::is($r->{status}, 200, 'content');
    Test::More::is_deeply([map { json_decode($_)->{custom_id} }
                           split /\n/, $r->{body}],
                          [map { "req-$_" } 1 .. $n],
                          'each line once, in order');
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: before a file and a batch were made
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
keep('before');
my $f = upload(jsonl(5))->{json};
my $b = run_batch(jsonl(3));
is($b->{status}, 'completed', 'a batch');
my $text = content($b->{output_file_id});

my @seen = main::rewind('before', "/v1/files/$f->{id}",
                        "/v1/batches/$b->{id}",
                        "/v1/files/$b->{output_file_id}/content");
is_deeply(\@seen, [(200) x 3], 'never a wrong 404');
is_deeply(api('GET', "/v1/files/$f->{id}")->{json}, $f, 'the same file');
is_deeply(get_batch($b->{id}), $b, 'the same batch');
is(content($b->{output_file_id}), $text, 'the same output');
is(scalar @{ api('GET', '/v1/files')->{json}{data} }, 3, 'all files listed');
is(mock_stats()->{requests}, 3, 'nothing ran again');


=== TEST 2: in the middle of a run
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $f = upload(jsonl(600, mock => 'slow=30'));
my $b = create_batch($f->{json}{id})->{json};
my $done = sub { get_batch($b->{id})->{request_counts}{completed} // 0 };
ok(wait_until(sub { $done->() > 30 }, 20), 'it runs');
keep('early');
my $now = 0;
ok(wait_until(sub { ($now = $done->()) > 200 }, 20), 'it goes on');
my @seen = main::rewind('early', "/v1/batches/$b->{id}");
is_deeply(\@seen, [200], 'never a wrong 404');
cmp_ok($done->(), '>=', $now, 'the counts have not fallen');
main::each_once(wait_batch($b->{id}, timeout => 40), 600);
cmp_ok(mock_stats()->{requests}, '<', 900, 'most lines were sent once');


=== TEST 3: before a run was completed
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $f = upload(jsonl(300, mock => 'slow=10'));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { get_batch($b->{id})->{request_counts}{completed} > 100 },
              20), 'it runs');
keep('running');
$b = wait_batch($b->{id}, timeout => 40);
my $text = content($b->{output_file_id});
my $sent = mock_stats()->{requests};
my @seen = main::rewind('running', "/v1/batches/$b->{id}",
                        "/v1/files/$b->{output_file_id}/content");
is_deeply(\@seen, [200, 200], 'never a wrong 404');
is_deeply(get_batch($b->{id}), $b, 'completed as before');
main::each_once($b, 300);
is(content($b->{output_file_id}), $text, 'the same output');
is(mock_stats()->{requests}, $sent, 'nothing ran again');


=== TEST 4: before deletions, with and without a trace of them on disk
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $b = run_batch(jsonl(2));
my @gone = map { upload(jsonl(1), filename => "g$_.jsonl")->{json}{id} } 1 .. 2;
my $stays = upload(jsonl(1))->{json};
keep('whole');
push @gone, $b->{output_file_id};

is(http('DELETE', "/v1/files/$_")->{status}, 200, "deleted: $_") for @gone;

# tombstones need not be there for ever

my $dir = store_dir();
is(unlink(glob "$dir/files/*/$gone[1].del"), 1, 'a tombstone less');

my $list = api('GET', '/v1/files')->{json};
my @seen = main::rewind('whole', (map { "/v1/files/$_" } @gone),
                        "/v1/files/$stays->{id}");
is_deeply(\@seen, [404, 404, 404, 200], 'deleted stays deleted');
is_deeply(api('GET', '/v1/files')->{json}, $list, 'and is in no list');
is(http('GET', "/v1/files/$gone[2]/content")->{status}, 404, 'no content');
is(get_batch($b->{id})->{status}, 'completed', 'its batch is still there');
is(wait_batch(create_batch($gone[0])->{json}{id})->{status}, 'failed',
   'no batch of it');


=== TEST 5: before a cancellation
--- concurrency
10
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $f = upload(jsonl(10, mock => sub { $_[0] <= 2 ? '' : 'hang' }));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { get_batch($b->{id})->{request_counts}{completed} == 2
                    && mock_stats()->{inflight} == 8 }, 20), 'it hangs');
keep('running');
is(cancel_batch($b->{id})->{status}, 200, 'cancelled');
my $c = get_batch($b->{id});
main::rewind('running', "/v1/batches/$b->{id}");
like(get_batch($b->{id})->{status}, qr/^cancell/, 'still so');
$b = wait_batch($b->{id}, timeout => 40);
is($b->{status}, 'cancelled', 'cancelled');
is($b->{cancelling_at}, $c->{cancelling_at}, 'when it was');
is_deeply($b->{request_counts}, { total => 10, completed => 2, failed => 0 },
          'counts');

main::rewind('running', "/v1/batches/$b->{id}");
is_deeply(get_batch($b->{id}), $b, 'and so it stays');


=== TEST 6: before a validation that failed; an idempotent request
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $f = upload("{}\n");
my $good = upload(jsonl(2))->{json};
keep('files');
my $b = create_batch($f->{json}{id})->{json};
$b = wait_batch($b->{id});
is($b->{status}, 'failed', 'failed');
my @key = (http => [headers => ['Idempotency-Key' => 'once']]);
my $one = create_batch($good->{id}, @key)->{json};
$one = wait_batch($one->{id});
main::rewind('files', "/v1/batches/$b->{id}");
is_deeply(get_batch($b->{id}), $b, 'still so');
is(create_batch($good->{id}, @key)->{json}{id}, $one->{id}, 'the same batch');
is_deeply(get_batch($one->{id}), $one, 'as it was');
is(mock_stats()->{requests}, 2, 'it ran once');


=== TEST 7: started again with all it had
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $b = run_batch(jsonl(2));
my $files = api('GET', '/v1/files')->{json};
my $gens = sub { grep { /:gen:/ } @{ redis('KEYS', '*gen*') } };
my @before = $gens->();
is(scalar @before, 1, 'one server');
keep('now');
main::rewind('now', "/v1/batches/$b->{id}");
is_deeply(get_batch($b->{id}), $b, 'the same batch');
is_deeply(api('GET', '/v1/files')->{json}, $files, 'the same files');
my @after = $gens->();
is(scalar @after, 1, 'still one');
isnt($after[0], $before[0], 'another one');


=== TEST 8: a thousand batches
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $first = run_batch(jsonl(1));
keep('one');
my $f = upload(jsonl(1))->{json};
my $dir = store_dir();

# as many as an installation collects; made on disk, as Redis never heard of them

my ($batch) = glob "$dir/batches/*/$first->{id}";
my $meta = json_decode(main::slurp("$batch/batch.json"));
my $final = json_decode(main::slurp("$batch/final.json"));
my @ids;

for my $i (1 .. 1000) {
    my $id = sprintf 'batch_%s%04d', substr($first->{id}, 6, -4), $i;
    my $xx = substr $id, 6, 2;
    my $to = "$dir/batches/$xx/$id";
    mkdir "$dir/batches/$xx", 0700;
    mkdir $to, 0700 or die "$to: $!";

    for ([$meta, 'batch.json'], [$final, 'final.json']) {
        my %o = (%{ $_->[0] }, id => $id);
        $o{created_us} += $i if $o{created_us};
        delete $o{crc};
        BatchDamage::manifest("$to/$_->[1]", json_encode(\%o));
    }

    push @ids, $id;
}

if ($> == 0) {
    my ($uid, $gid) = (stat $batch)[4, 5];
    system('chown', '-R', "$uid:$gid", "$dir/batches");
}

my @seen = main::rewind('one', "/v1/batches/$ids[0]", "/v1/batches/$ids[999]",
                        '/up');
is_deeply(\@seen, [200, 200, 200], 'they are there, and nginx answered');
is(get_batch($ids[$_])->{status}, 'completed', "batch $_") for 1, 500, 998;
