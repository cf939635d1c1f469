# A disk that is slower than everybody around it.

use lib 't/lib';
use BatchTest;
use BatchDamage;
use BatchFault;
use BatchHostile;
use BatchNode;
use BatchRaw;
use BatchStream;
use Test::Nginx::Socket 'no_plan';

our $Stream = BatchStream->start(test_dir() . '/stream.sock');

END { $Stream->stop if $Stream }


# kB; the most that any worker has had since the last call with 1

sub memory {
    my ($begin) = @_;
    my $most = 0;

    for my $pid (nginx_workers()) {
        if ($begin) {
            open my $f, '>', "/proc/$pid/clear_refs" or die "clear_refs: $!\n";
            syswrite $f, '5';
        }

        my ($kb) = slurp("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m;
        $most = $kb if $kb > $most;
    }

    return $most;
}


# An answer of 24 MB, in writes of 256 KB and more, each of which takes long:
# meanwhile the upstream has to wait, and the worker's memory does not grow.

sub large {
    my $n = 24 << 20;
    my $w = watch(keys => qr/^\{batch\}:((f|fl|b|bl|u[a-z]):|fx$)/);
    my $kb = memory(1);

    fault(n => 1, sticky => 1, action => 'slow', ms => 10);

    my $b = run_batch(qq({"custom_id":"large","method":"POST",)
                      . qq("url":"/v1/chat/completions","body":{"model":"m",)
                      . qq("messages":[],"answer":["chunked",$n]}}\n),
                      timeout => 90);

    Test::More::is($b->{status}, 'completed', 'completed');
    Test::More::cmp_ok(fault_off(), '>', 10, 'the disk was slow');
    Test::More::cmp_ok(memory() - $kb, '<', 8192, 'the memory of a worker');

    my ($r) = content($b->{output_file_id}) =~ /"body": (\{.*\})\}, "error"/s;

    Test::More::ok(defined $r && $r eq '{"text":"' . 'x' x ($n - 11) . '"}',
                   'the answer, byte for byte');
    $w->leftovers('large');
}

# An upload in parts: its id.

sub begin {
    return api('POST', '/v1/uploads', { purpose => 'batch', bytes => $_[0],
                                        filename => 'a.jsonl',
                                        mime_type => 'text/jsonl' })
        ->{json}{id};
}

sub upload_dir { return store_dir() . '/uploads/' . substr($_[0], 7, 2)
                        . "/$_[0]" }


sub request {
    my ($path, $body, $type) = @_;

    return "POST $path HTTP/1.1\r\nHost: a\r\nContent-Type: $type\r\n"
           . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
}

sub part {
    my ($id, $data) = @_;

    return request("/v1/uploads/$id/parts", multipart(data => $data));
}

sub complete {
    my ($id, @parts) = @_;

    return request("/v1/uploads/$id/complete",
                   json_encode({ part_ids => [@parts] }), 'application/json');
}

sub answer_to {
    my ($request) = @_;
    my $c = BatchRaw->new;

    $c->send($request);
    return $c->answer;
}


# A call that is held up right before something gets its name, the n-th.

sub held {
    my ($n, $request) = @_;
    my $c = BatchRaw->new;

    fault(n => $n, call => 'linkat', where => 'threads', action => 'hold');
    $c->send($request);
    Test::More::ok(wait_until(sub { fault_met() }, 20), 'it is held up');
    return $c;
}


# As if the upload had been created so much earlier; another node sees it soon
# after its start.

sub age {
    my ($id, $seconds) = @_;
    my $file = upload_dir($id) . '/upload.json';
    my $o = json_decode(slurp($file));

    $o->{created_us} -= $seconds * 1e6;
    $o->{expires_at} -= $seconds;

    delete $o->{crc};
    BatchDamage::manifest($file, json_encode($o));
}


# Nothing of a part, neither on disk nor in the quota: of so many bytes.

sub no_part {
    my ($name, $bytes) = @_;

    Test::More::is(scalar(() = glob(store_dir() . '/uploads/*/*/part_*')), 0,
                   "$name: no part");
    Test::More::ok(!glob(store_dir() . '/tmp/*'), "$name: no tmp file");
    Test::More::ok(wait_until(sub {
        redis('ZCARD', '{batch}:ufh:0') == 0
        && (redis('HGET', '{batch}:uf:0', 'sum') // 0) == $bytes
    }, 20), "$name: nothing is held");
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: an upstream is not read from faster than its answer is written
--- api_config
    batch_pass /stream;
--- server_extra
    location /stream/ {
        internal;
        proxy_pass http://unix:$TEST_NGINX_BATCH_DIR/stream.sock:/;
        proxy_http_version 1.1;
    }
--- flow
main::large();


=== TEST 2: the same without nginx's buffers
--- api_config
    batch_pass /stream;
--- server_extra
    location /stream/ {
        internal;
        proxy_pass http://unix:$TEST_NGINX_BATCH_DIR/stream.sock:/;
        proxy_http_version 1.1;
        proxy_buffering off;
        send_timeout 1ms;
    }
--- flow
main::large();


=== TEST 3: an answer that is cut while the disk is slow
--- api_config
    batch_pass /stream;
    batch_timeout 2s;
    batch_retries 0;
--- server_extra
    location /stream/ {
        internal;
        proxy_pass http://unix:$TEST_NGINX_BATCH_DIR/stream.sock:/;
        proxy_http_version 1.1;
        proxy_buffering off;
    }
--- flow
my $w = watch(keys => qr/^\{batch\}:((f|fl|b|bl|u[a-z]):|fx$)/);
my $f = upload(qq({"custom_id":"cut","method":"POST",)
               . qq("url":"/v1/chat/completions","body":{"model":"m",)
               . qq("messages":[],"answer":["chunked",900000000]}}\n))
        ->{json}{id};
fault(n => 1, sticky => 1, action => 'slow', ms => 50);
my $b = wait_batch(create_batch($f)->{json}{id}, timeout => 60);
cmp_ok(fault_off(), '>', 3, 'the disk was slow');
is($b->{status}, 'completed', 'completed');
is((error_lines($b))[0]{error}{code}, 'request_timeout', 'in no time');
$w->leftovers('cut');


=== TEST 4: what the disk takes is not the client's time (batch_body_rate)
--- api_config
    client_body_buffer_size 16k;
    batch_body_rate 10m grace=1s;
--- flow
my $w = watch(keys => qr/^\{batch\}:((f|fl|b|bl|u[a-z]):|fx$)/);
my $data = jsonl(1) x (2_000_000 / length jsonl(1));

# 1.2 s by the directive; the disk takes longer

fault(n => 1, sticky => 1, action => 'slow', ms => 200);
my $from = Time::HiRes::time();
my $r = upload($data);
my $took = Time::HiRes::time() - $from;
cmp_ok(fault_off() * 0.2, '>', 2, 'the disk took long enough');
cmp_ok($took, '>', 2, 'and the client was made to wait');
is($r->{status}, 200, 'a file') or diag($r->{body});
ok(content($r->{json}{id}) eq $data, 'all of it');

my $u = api('POST', '/v1/uploads', { purpose => 'batch', filename => 'a.jsonl',
            bytes => length $data, mime_type => 'application/jsonl' })->{json};
my ($body, $type) = multipart(data => { data => $data, filename => 'a' });

fault(n => 1, sticky => 1, action => 'slow', ms => 200);
my $p = api('POST', "/v1/uploads/$u->{id}/parts", undef, body => $body,
            headers => ['Content-Type' => $type]);
cmp_ok(fault_off() * 0.2, '>', 2, 'the disk took long enough');
is($p->{status}, 200, 'a part') or diag($p->{body});

# a client that is slow itself is noticed all the same

fault(n => 1, sticky => 1, action => 'slow', ms => 200);
my $c = BatchRaw->new;
($body, $type) = multipart(purpose => 'batch', file => { data => $data,
                                                         filename => 'a' });
$c->send("POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Type: $type\r\n"
         . 'Content-Length: ' . length($body) . "\r\n\r\n"
         . substr $body, 0, 1_000_000);
is($c->answer->{status}, 408, 'one that stands still');
cmp_ok(fault_off(), '>', 0, 'the disk was slow');
close $c->{s};

is(api('POST', "/v1/uploads/$u->{id}/cancel", undef, body => '')->{status}, 200,
   'cancel');
$w->leftovers('pace');


=== TEST 5: finalizing_at stays, also if Redis forgets it before final.json
--- no_error_log
[emerg]
--- flow
my $f = upload(jsonl(300, mock => sub { $_[0] == 300 ? 'slow=4000' : '' }));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { get_batch($b->{id})->{request_counts}{completed} == 299 },
              30), 'all but one');

# after the seal nothing is published until it is let go: the result cannot be
# there earlier

fault(n => 2, sticky => 1, call => 'linkat', where => 'threads',
      action => 'hold');
my $was = wait_batch($b->{id}, until => qr/^(finalizing|completed)$/);
is($was->{status}, 'finalizing', 'the result is being made');
ok(wait_until(sub { fault_met() }, 30), 'and the disk holds it up');
kill 'KILL', nginx_workers();
redis('FLUSHALL');
Time::HiRes::sleep(2.1);              # another time would be another second

my $now;
ok(wait_until(sub { my $r = api('GET', "/v1/batches/$b->{id}");
                    $now = $r->{json} if $r->{status} == 200; $now }, 40),
   'the index is filled');
is($now->{status}, 'finalizing', 'it is still finalizing');
is($now->{finalizing_at}, $was->{finalizing_at}, 'since then');
fault_off();
my $end = wait_batch($b->{id}, timeout => 60);
is($end->{status}, 'completed', 'completed');
is($end->{finalizing_at}, $was->{finalizing_at}, 'finalizing_at');
is($end->{request_counts}{completed}, 300, 'with all lines');


=== TEST 6: a batch is cancelled while its lines are being read
--- flow
# the validator is stopped at an open of a file, creation has made two before

my $f = upload(jsonl(40))->{json}{id};
fault(n => 6, class => 'reads', call => 'openat64', where => 'threads',
      action => 'hold');
my $b = create_batch($f)->{json};
ok(wait_until(sub { fault_met() }, 20), 'the validator is stopped');
is(get_batch($b->{id})->{status}, 'validating', 'validating');
my $r = cancel_batch($b->{id});
is($r->{status}, 200, 'cancel answers 200');
is($r->{json}{status}, 'cancelling', 'cancelling');
fault_off();

$b = wait_batch($b->{id});
is($b->{status}, 'cancelled', 'cancelled');
is($b->{cancelling_at}, $r->{json}{cancelling_at}, 'since then');
is($b->{$_}, undef, $_) for qw(in_progress_at finalizing_at completed_at
                               failed_at errors output_file_id error_file_id);
is_deeply($b->{request_counts}, { total => 0, completed => 0, failed => 0 },
          'no line is counted');
is(mock_stats()->{requests}, 0, 'none was sent');


=== TEST 7: a batch is cancelled when its lines are read, and the plan is not there
--- flow
my $f = upload(jsonl(40))->{json}{id};
fault(n => 3, call => 'linkat', where => 'threads', action => 'hold');
my $b = create_batch($f)->{json};
ok(wait_until(sub { fault_met() }, 20), 'the plan is held up');
is(get_batch($b->{id})->{status}, 'validating', 'validating');
is(cancel_batch($b->{id})->{json}{status}, 'cancelling', 'cancelling');
fault_off();

$b = wait_batch($b->{id});
is($b->{status}, 'cancelled', 'cancelled');
is($b->{$_}, undef, $_) for qw(finalizing_at completed_at failed_at errors
                               output_file_id);
is_deeply($b->{request_counts}, { total => 40, completed => 0, failed => 0 },
          'all lines are counted');
is(scalar(grep { ($_->{error}{code} // '') eq 'batch_cancelled' }
          error_lines($b)), 40, 'each is in the error file');
is(mock_stats()->{requests}, 0, 'none was sent');


=== TEST 8: an answer without nginx's buffers, after error_page
An error gives the connection other handlers, nginx's own, which would take the
time for that of a client.
--- api_config
    batch_pass /stream;
    batch_retries 0;
--- server_extra
    location /stream/ {
        internal;
        error_page 405 = @stream;
        return 405;
    }
    location @stream {
        proxy_pass http://unix:$TEST_NGINX_BATCH_DIR/stream.sock:;
        proxy_http_version 1.1;
        proxy_buffering off;
        send_timeout 1ms;
    }
--- flow
main::large();


=== TEST 9: a part that is about to be published while its upload is cancelled
Whoever cancels deletes the parts that are there: this one is not yet.
--- api_config
    batch_quota bytes=1m;
--- flow
for my $call ('linkat', 'fdatasync') {
    my $u = api('POST', '/v1/uploads', { purpose => 'batch', bytes => 9,
                                         filename => 'a.jsonl',
                                         mime_type => 'text/jsonl' });
    my $id = $u->{json}{id};
    my ($body, $type) = multipart(data => '{"a":123}');
    my $c = BatchRaw->new;

    fault(n => 1, call => $call, where => 'threads', action => 'hold');
    $c->send("POST /v1/uploads/$id/parts HTTP/1.1\r\nHost: a\r\n"
             . "Content-Type: $type\r\nContent-Length: "
             . length($body) . "\r\n\r\n$body");
    ok(wait_until(sub { fault_met() }, 20), "$call: the part is held up");
    is(api('POST', "/v1/uploads/$id/cancel")->{status}, 200, 'cancel');
    fault_off();

    my $r = $c->answer;
    is($r->{status}, 400, 'the part');
    is($r->{json}{error}{message}, 'Cannot add a part to an upload with status'
       . " 'cancelled'.", 'message');
    is(scalar(() = glob(store_dir() . '/uploads/*/*/part_*')), 0,
       'it is not there');
    ok(!glob(store_dir() . '/tmp/*'), 'no tmp file');
    ok(wait_until(sub { redis('ZCARD', '{batch}:ufh:0') == 0
                        && (redis('HGET', '{batch}:uf:0', 'sum') // 0) == 0 },
                  20), 'nothing is held');
}



=== TEST 10: a part that is about to be published while its upload is completed
--- api_config
    batch_quota bytes=1m;
--- flow
my $id = main::begin(9);
my $first = main::answer_to(main::part($id, '{"a":123}'))->{json}{id};
my $c = main::held(1, main::part($id, '{"b":456}'));
my $r = main::answer_to(main::complete($id, $first));

is($r->{status}, 200, 'complete');
fault_off();

my $p = $c->answer;
is($p->{status}, 400, 'the part');
is($p->{json}{error}{message}, 'Cannot add a part to an upload with status'
   . " 'completed'.", 'message');
main::no_part('completed', 9);
is(content($r->{json}{file}{id}), '{"a":123}', 'the file is what it was');



=== TEST 11: a part that is about to be published while its upload expires, or
is deleted
--- api_config
    batch_quota bytes=1m;
--- flow
my $id = main::begin(9);
my $c = main::held(1, main::part($id, '{"a":123}'));

main::age($id, 4300);

my $node = BatchNode->start('two');

ok(wait_until(sub { -e main::upload_dir($id) . '/end.json' }, 20), 'expired');
fault_off();

my $r = $c->answer;
is($r->{status}, 400, 'the part');
is($r->{json}{error}{message}, 'Cannot add a part to an upload with status'
   . " 'expired'.", 'message');
main::no_part('expired', 0);

# a day later

$id = main::begin(9);
$c = main::held(1, main::part($id, '{"a":123}'));
is(api('POST', "/v1/uploads/$id/cancel")->{status}, 200, 'cancel');
main::age($id, 90000);
$node->stop('QUIT');
$node = BatchNode->start('three');
ok(wait_until(sub { !-e main::upload_dir($id) }, 20), 'deleted');
fault_off();

is($c->answer->{status}, 404, 'the part');
main::no_part('deleted', 0);
ok(!-e main::upload_dir($id), 'nothing is back');

# a complete call that is as late, before its file, and before it commits

for my $n (1, 2) {
    $id = main::begin(9);

    my $part = main::answer_to(main::part($id, '{"a":123}'))->{json}{id};

    $c = main::held($n, main::complete($id, $part));
    is(api('POST', "/v1/uploads/$id/cancel")->{status}, 200, 'cancel');
    main::age($id, 90000);
    $node->stop('QUIT');
    $node = BatchNode->start("four$n");
    ok(wait_until(sub { !-e main::upload_dir($id) }, 20), 'deleted');
    fault_off();

    is($c->answer->{status}, 404, 'the complete call');
    main::no_part('deleted', 0);
    ok(!-e main::upload_dir($id), 'nothing is back');
}

$node->stop('QUIT');



=== TEST 12: complete calls at once: one joins the parts, the others wait for it
--- log_level: debug
--- flow
my $data = jsonl(500);
my $id = main::begin(length $data);
my $part = main::answer_to(main::part($id, $data))->{json}{id};
my @c = map { BatchRaw->new } 1 .. 8;

sub main::bytes {
    my $n = 0;

    $n += -s // 0 for grep { !/\.json$/ }
        map { glob(store_dir() . "/$_") } 'tmp/*', 'files/*/*', 'uploads/*/*/*';
    return $n;
}

sub main::waiting { return () = error_log_text() =~ /another call joins/g }

fault(n => 1, call => 'linkat', where => 'threads', action => 'hold');
$_->send(main::complete($id, $part)) for @c;
ok(wait_until(sub { fault_met() }, 20), 'one is held up when it has joined');
ok(wait_until(sub { main::waiting() == 7 }, 20), 'the others wait');
is(main::bytes(), 2 * length $data, 'the bytes are there twice');

# one that goes, one of another node, one that would fail

pop(@c)->abort;

my $node = BatchNode->start('two');
my $far = BatchRaw->new(port => $node->{port});

$far->send(main::complete($id, $part));
push @c, $far;

my $bad = BatchRaw->new;

$bad->send(main::complete($id, 'part_' . '0' x 32));
ok(wait_until(sub { main::waiting() == 8 }, 20), 'that one waits, too');
is(main::bytes(), 2 * length $data, 'nor more');
fault_off();

my @r = map { $_->answer } @c;

is_deeply([map { $_->{status} } @r], [(200) x 8], 'all are answered');
is(scalar(grep { $_->{body} ne $r[0]{body} } @r), 0, 'alike');
is($bad->answer->{json}{error}{message}, 'Cannot complete an upload with'
   . " status 'completed'.", 'the other one is told what there is now');
is(main::bytes(), length $data, 'the bytes are there once');
ok(content($r[0]{json}{file}{id}) eq $data, 'and are right');
$node->stop('QUIT');



=== TEST 13: whoever joins the parts dies: the next one does
--- no_error_log
[emerg]
--- flow
my $data = jsonl(500);
my $id = main::begin(length $data);
my $part = main::answer_to(main::part($id, $data))->{json}{id};
my @c = map { BatchRaw->new } 1 .. 6;

fault(n => 1, call => 'linkat', where => 'threads', action => 'kill_before');
$_->send(main::complete($id, $part)) for @c;

my @r = map { $_->answer } @c;

fault_off();
cmp_ok(scalar(grep { ($_->{status} // 0) !~ /^(0|200|503)$/ } @r), '==', 0,
       'those of the other worker are not harmed');

my $r;
ok(wait_until(sub {
    $r = main::answer_to(main::complete($id, $part));
    ($r->{status} // 0) == 200;
}, 20), 'complete');
ok(content($r->{json}{file}{id}) eq $data, 'the bytes');
is_deeply([map { s{.*/}{}r } glob(main::upload_dir($id) . '/*')],
          ['end.json', 'upload.json'], 'nothing is left');



=== TEST 14: a complete call that cannot commit takes its bytes away again
--- no_error_log
[alert]
[emerg]
--- flow
my $id = main::begin(9);
my $part = main::answer_to(main::part($id, '{"a":123}'))->{json}{id};

for (1 .. 3) {
    fault(n => 2, call => 'linkat', where => 'threads', errno => 'EIO');
    is(main::answer_to(main::complete($id, $part))->{status}, 500,
       'the mark fails');
    is(fault_off(), 1, 'really');
    is_deeply([map { s{.*/}{}r } glob(main::upload_dir($id) . '/*')],
              [$part, 'upload.json'], 'nothing is left');
}

# one whose name is there, though it may not be durable, keeps them

fault(n => 2, call => 'fsync', where => 'threads', errno => 'EIO');
my $r = main::answer_to(main::complete($id, $part));
my $met = fault_off();

is($r->{status}, 500, 'its sync fails') if $met;
$r = main::answer_to(main::complete($id, $part));
is($r->{status}, 200, 'complete');
is(content($r->{json}{file}{id}), '{"a":123}', 'the file');
ok(!glob(store_dir() . '/tmp/*'), 'no tmp file');
