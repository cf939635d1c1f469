# What clients of OpenAI's service rely on, by number: files (1 to 30).  The
# names of the checks begin with "#<number>".  Numbers 2, 4 and 30, as far as
# time has to pass for them, are in t/36_checklist_time.t.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

# POST /v1/files with a body of the test's own making

sub post {
    my ($body, $type, %o) = @_;

    return BatchRaw->new->request('POST', '/v1/files', $body, %o,
                                  headers => ['Content-Type' => $type,
                                              @{ $o{headers} // [] }]);
}

# parts as [header lines, data], whatever they are

sub raw_parts {
    my ($b, @parts) = @_;

    return join('', map { "--$b\r\n$_->[0]\r\n\r\n$_->[1]\r\n" } @parts)
           . "--$b--\r\n";
}

sub stored {
    my ($id) = @_;

    return grep { !/\.json$/ } glob(store_dir() . "/files/*/$id*");
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: what an upload answers
--- flow
my $data = jsonl(3);
my $before = time();
my $r = upload($data, filename => 'in.jsonl');
my $f = $r->{json};
my $after = time();

is($r->{status}, 200, '#1 POST /v1/files answers 200');
like($f->{id}, qr/^file-[0-9A-Za-z]{22}$/, '#1 id');
is($f->{object}, 'file', '#1 object');
is($f->{bytes}, length $data, '#1 bytes are those of the payload');
ok($f->{created_at} >= int($before) && $f->{created_at} <= $after,
   '#1 created_at is now, in seconds');
is($f->{filename}, 'in.jsonl', '#1 filename');
is($f->{purpose}, 'batch', '#1 purpose');
is($f->{status}, 'processed', '#1 status');
is($f->{status_details}, undef, '#1 status_details');
is(api('GET', "/v1/files/$f->{id}")->{body}, $r->{body}, '#1 GET says the same');

is($f->{expires_at}, $f->{created_at} + 2592000, '#2 expires_at of a batch');

for my $purpose (qw(assistants user_data fine-tune vision evals)) {
    $r = upload("any text\n", purpose => $purpose);
    is($r->{status}, 200, "#3 purpose $purpose");
    ok(exists $r->{json}{expires_at} && !defined $r->{json}{expires_at},
       "#3 expires_at of $purpose is there, and null");
}

for my $n (3600, 2592000) {
    my $e = upload($data, fields => ['expires_after[anchor]' => 'created_at',
                                     'expires_after[seconds]' => $n])->{json};
    is($e->{expires_at}, $e->{created_at} + $n, "#4 expires_after of $n s");
}

for (['3599', 'integer_below_min_value', "Invalid 'expires_after[seconds]': "
      . 'integer below minimum value. Expected a value >= 3600, but got 3599 '
      . 'instead.'],
     ['2592001', 'integer_above_max_value', "Invalid 'expires_after[seconds]':"
      . ' integer above maximum value. Expected a value <= 2592000, but got '
      . '2592001 instead.'],
     ['soon', 'invalid_type', "Invalid type for 'expires_after[seconds]': "
      . 'expected an integer, but got a string instead.'])
{
    $r = upload($data, fields => ['expires_after[anchor]' => 'created_at',
                                  'expires_after[seconds]' => $_->[0]]);
    is($r->{status}, 400, "#5 expires_after of $_->[0]");
    is_deeply($r->{json}, error_body($_->[2], 'expires_after[seconds]',
                                     $_->[1]), "#5 the error of $_->[0]");
}

my $json = { data => '{"anchor":"created_at","seconds":3600}',
             type => 'application/json' };
my $e = upload($data, fields => [expires_after => $json])->{json};
is($e->{expires_at}, $e->{created_at} + 3600, '#6 expires_after as JSON');

$r = upload($data, file_first => 1);
is($r->{status}, 200, '#7 purpose behind the file');
is($r->{json}{purpose}, 'batch', '#7 is not overlooked');

my ($body, $type) = multipart(file => { data => $data, filename => 'a.jsonl' },
                              purpose => 'batch');

for my $n (1, 7, 1000) {
    $r = main::post($body, $type, chunk => $n);
    is($r->{status}, 200, "#8 chunks of $n bytes");
    is($r->{json}{bytes}, length $data, "#8 bytes, chunks of $n");
    ok(content($r->{json}{id}) eq $data, "#8 content, chunks of $n");
}

my $c = BatchRaw->new;
$c->send("POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: $type\r\n"
         . 'Content-Length: ' . length($body)
         . "\r\nExpect: 100-continue\r\n\r\n");
$c->fill;
is($c->{in}, "HTTP/1.1 100 Continue\r\n\r\n", '#9 first 100');
$c->send($body);
$r = $c->answer;
is($r->{status}, 200, '#9 then 200');
ok(content($r->{json}{id}) eq $data, '#9 content');



=== TEST 2: what clients make of multipart
--- flow
my $data = jsonl(2);
my $cd = 'Content-Disposition: form-data;';

# .NET: type before disposition, nothing quoted but the boundary

my $b = 'a=b/c:d?e';
my $r = main::post(main::raw_parts($b,
            ["Content-Type: application/octet-stream\r\n$cd name=file; "
             . "filename=in.jsonl; filename*=utf-8''in.jsonl", $data],
            ["Content-Type: text/plain; charset=utf-8\r\n$cd name=purpose",
             'batch']), qq(multipart/form-data; boundary="$b"));
is($r->{status}, 200, '#10 as .NET writes it');
is($r->{json}{filename}, 'in.jsonl', '#10 filename');
ok(content($r->{json}{id}) eq $data, '#10 content');

$r = main::post(main::raw_parts('x', ["$cd name=\"purpose\"", 'batch'],
                                ["$cd name=\"file\"; filename=\"in.jsonl\"",
                                 $data]), 'multipart/form-data; boundary=x');
is($r->{status}, 200, '#11 a file without Content-Type');
ok(content($r->{json}{id}) eq $data, '#11 content');

for (['filename="a%22b.jsonl"', 'a"b.jsonl', 'percent'],
     ['filename="a\\"b.jsonl"', 'a"b.jsonl', 'backslash'],
     ["filename=\"\xe4\xbd\xa0\xe5\xa5\xbd.jsonl\"",
      "\x{4f60}\x{597d}.jsonl", 'raw UTF-8'],
     ["filename=\"x\"; filename*=utf-8''%e4%bd%a0%C3%A9.jsonl",
      "\x{4f60}\x{e9}.jsonl", 'filename*'],
     ['filename="../../../etc/passwd"', 'passwd', 'a path'],
     ["filename*=utf-8''..%2f..%2Fetc%2fpasswd", 'passwd', 'a hidden path'],
     ['filename="C:\\dir\\in.jsonl"', 'in.jsonl', 'a path of Windows'])
{
    $r = main::post(main::raw_parts('x', ["$cd name=\"purpose\"", 'batch'],
                                    ["$cd name=\"file\"; $_->[0]", $data]),
                    'multipart/form-data; boundary=x');
    is($r->{status}, 200, "#12 $_->[2]");
    is($r->{json}{filename}, $_->[1], "#12 filename of $_->[2]");
}

my $where = store_dir();
is(`find $where -name '*passwd*' -o -name '*jsonl*'`, '',
   '#12 no name of a client is one of the disk');

$r = main::post(main::raw_parts('x', ["$cd name=\"purpose\"", 'batch'],
                                ["$cd name=\"file\"", $data]),
                'multipart/form-data; boundary=x');
is($r->{status}, 400, '#13 a file part without a filename');
is_deeply($r->{json}, error_body('The browser (or proxy) sent a request that '
          . 'this server could not understand.', undef, undef,
          'server_error'), '#13 the error');

$r = upload($data, purpose => 'world_domination');
is($r->{status}, 400, '#14 an unknown purpose');
is_deeply($r->{json}, error_body("'world_domination' is not one of "
          . "['fine-tune', 'assistants', 'batch', 'user_data', 'vision', "
          . "'evals'] - 'purpose'", 'purpose', undef), '#14 the error');

my ($body, $type) = multipart(file => { data => $data, filename => 'a' });
$r = main::post($body, $type);
is($r->{status}, 400, '#15 no purpose');
is_deeply($r->{json}, error_body("Missing required parameter: 'purpose'.",
          'purpose', 'missing_required_parameter'), '#15 the error');

my $jsonl = 'Invalid file format for Batch API. Must be .jsonl';

for my $first (0, 1) {
    $r = upload('', file_first => $first);
    is($r->{status}, 400, '#16 an empty file');
    is_deeply($r->{json}, error_body($jsonl), '#16 the error');

    for (["hello\n", 'Line 1: Expected an object at byte 1.'],
         ["[1]\n", 'The file begins with a JSON array. Write one object per '
          . 'line, without brackets around them and commas between them.'],
         ['"text"', 'Line 1: Expected an object at byte 1.'],
         ["{]\n$data", 'Line 1: Expected a key at byte 2.'],
         ["\n{\"a\":NaN}\n$data", 'Line 2: Unexpected byte at byte 6.'],
         ["{\"a\":\"caf\xe9\"}\n", 'Line 1: Invalid UTF-8 at byte 10.'],
         ["{\n  \"a\": 1\n}\n", 'The first object does not end on its line. '
          . 'Write each object on one line.'],
         ["\xff\xfe{\0}\0", 'The file is in UTF-16. Save it in UTF-8.'],
         ["\x1f\x8b\x08\0", 'The file is compressed (gzip). Upload it '
          . 'uncompressed.'])
    {
        my ($text, $why) = @$_;

        $r = upload($text, file_first => $first);
        is($r->{status}, 400, '#17 the first line is no object');
        is_deeply($r->{json}, error_body("$jsonl. $why"),
                  '#17 the error, and what is wrong');
    }
}

$r = upload(jsonl(1) . "{\"custom_id\":\n");
is($r->{status}, 200, '#18 the second line is malformed: accepted');
my $batch = wait_batch(create_batch($r->{json}{id})->{json}{id});
is($batch->{status}, 'failed', '#18 the batch fails');
is(scalar @{ $batch->{errors}{data} }, 1, '#18 one error');
is($batch->{errors}{data}[0]{code}, 'invalid_json_line', '#18 code');
is($batch->{errors}{data}[0]{line}, 2, '#18 line');

$r = upload($data, filename => 'test-batch-file');
is($r->{status}, 200, '#19 a name without suffix');
is($r->{json}{filename}, 'test-batch-file', '#19 filename');



=== TEST 3: too large (413 here, where OpenAI has 400)
--- api_config
    batch_max_file_size 100000;
--- flow
my $want = error_body('File is too large.');
my ($body, $type) = multipart(purpose => 'batch',
                              file => { data => jsonl(1000),
                                        filename => 'a' });

for my $o ({}, { chunk => 4000 }) {
    my $c = BatchRaw->new;
    my $r = $c->request('POST', '/v1/files', $body, %$o,
                        headers => ['Content-Type' => $type]);

    is($r->{status}, 413, '#20 too large');
    is($r->{headers}{'content-type'}, 'application/json', '#20 JSON');
    is_deeply($r->{json}, $want, '#20 the error');

    if (($r->{headers}{connection} // '') eq 'close') {
        1 while $c->fill;
        is($c->{in}, '', '#20 closed behind the answer');
    } else {
        ok($c->alive, '#20 the connection is usable');
    }
}

($body, $type) = multipart(purpose => 'batch',
                           file => { data => '{}' . ' ' x 99998,
                                     filename => 'a' });
is(main::post($body, $type)->{json}{bytes}, 100000, '#20 the limit itself');



=== TEST 4: lists
--- flow
my $r = api('GET', '/v1/files');
is($r->{status}, 200, '#21 an empty list');
is_deeply($r->{json}, { object => 'list', data => [], has_more => JSON::PP::false,
                        first_id => undef, last_id => undef },
          '#21 of an empty list');

my @ids = map { upload(jsonl(1), purpose => $_ % 2 ? 'batch' : 'evals')
                ->{json}{id} } 1 .. 6;

$r = api('GET', '/v1/files')->{json};
is(join(' ', sort keys %$r), 'data first_id has_more last_id object',
   '#21 keys');
is_deeply([map { $_->{id} } @{ $r->{data} }], [reverse @ids],
          '#21 newest first');
is("$r->{first_id} $r->{last_id}", "$ids[5] $ids[0]", '#21 first_id, last_id');
ok(!$r->{has_more}, '#21 no more');

sub ids { [map { $_->{id} } @{ api('GET', "/v1/files?$_[0]")->{json}{data} }] }

is_deeply(ids('purpose=batch'), [@ids[4, 2, 0]], '#22 purpose=batch');
is_deeply(ids('purpose=evals'), [@ids[5, 3, 1]], '#22 purpose=evals');
is_deeply(ids('order=asc'), \@ids, '#22 order=asc');
is_deeply(ids('order=asc&purpose=batch'), [@ids[0, 2, 4]], '#22 both');

$r = api('GET', '/v1/files?limit=10001');
is($r->{status}, 400, '#23 limit=10001');
is_deeply($r->{json}, error_body("Invalid 'limit': integer above maximum "
          . 'value. Expected a value <= 10000, but got 10001 instead.', 'limit',
          'integer_above_max_value'), '#23 the error');
is(api('GET', '/v1/files?limit=10000')->{status}, 200, '#23 limit=10000');

for my $id ('file-' . 'a' x 22, 'fake_id') {
    $r = api('GET', "/v1/files/$id");
    is($r->{status}, 404, "#24 $id");
    is_deeply($r->{json}, error_body("No such File object: $id", 'id'),
              '#24 the error');
}

$r = api('DELETE', "/v1/files/$ids[0]");
is($r->{status}, 200, '#25 DELETE');
is_deeply($r->{json}, { id => $ids[0], object => 'file',
                        deleted => JSON::PP::true }, '#25 its answer');

for (['GET', ''], ['GET', '/content'], ['DELETE', '']) {
    $r = api($_->[0], "/v1/files/$ids[0]$_->[1]");
    is($r->{status}, 404, "#25 $_->[0]$_->[1] after it");
    is_deeply($r->{json}, error_body("No such File object: $ids[0]", 'id'),
              '#25 the error');
}

is(scalar main::stored($ids[1]), 1, '#25 other blobs stay');
is_deeply([grep { !/\.del$/ } main::stored($ids[0])], [],
          '#25 the blob is gone');



=== TEST 5: the limit of a list's page (Redis is given the files)
--- flow
# 10,001 files would take a while: their manifests are put where POST puts them

my $f = upload(jsonl(1))->{json};
my ($key) = @{ redis('KEYS', "*:f:$f->{id}") };
my $manifest = redis('GET', $key);
my @lists = grep { redis('ZSCORE', $_, $f->{id}) } @{ redis('KEYS', '*:fl:*') };

is(scalar @lists, 2, '#21 all files, and those of the purpose');
redis('EVAL', <<'LUA', 3, @lists, $key, $f->{id}, $manifest);
for i = 1, 10000 do
    local id = string.format('file-%022d', i)
    local text = string.gsub(ARGV[2], ARGV[1]:gsub('%-', '%%-'), id)
    redis.call('SET', (string.gsub(KEYS[3], ARGV[1]:gsub('%-', '%%-'), id)), text)
    redis.call('ZADD', KEYS[1], i, id)
    redis.call('ZADD', KEYS[2], i, id)
end
LUA

my $r = api('GET', '/v1/files', undef, timeout => 60)->{json};
is(scalar @{ $r->{data} }, 10000, '#21 10000 is the default limit');
ok($r->{has_more}, '#21 and there is one more');
$r = api('GET', "/v1/files?after=$r->{last_id}")->{json};
is(scalar @{ $r->{data} }, 1, '#21 the last one');
ok(!$r->{has_more}, '#21 is the last one');



=== TEST 6: content
--- flow
my $text = "{\"a\":\"\xe4\xbd\xa0 \xc3\xa9 \xe2\x80\xa8\"}\n";
my $id = upload($text, filename => 'in put.jsonl')->{json}{id};
my $r = http('GET', "/v1/files/$id/content");
my $h = $r->{headers};

is($r->{status}, 200, '#26 content');
ok($r->{body} eq $text, '#26 the bytes');
is($h->{'content-type'}, 'application/octet-stream', '#26 type');
is($h->{'content-disposition'}, 'attachment; filename="in put.jsonl"',
   '#26 disposition');
is($h->{'content-length'}, length $text, '#26 length');

for my $accept ('application/binary', 'text/plain', '*/*', 'image/png') {
    $r = http('GET', "/v1/files/$id/content", headers => [Accept => $accept]);
    is($r->{status}, 200, "#27 Accept: $accept");
    is($r->{headers}{'content-type'}, 'application/octet-stream',
       "#27 type for $accept");
    ok($r->{body} eq $text, "#27 the bytes for $accept");
}

for my $purpose (qw(assistants user_data)) {
    my $no = upload('x', purpose => $purpose)->{json}{id};
    $r = api('GET', "/v1/files/$no/content");
    is($r->{status}, 400, "#28 content of $purpose");
    is_deeply($r->{json}, error_body('Not allowed to download files of '
              . "purpose: $purpose"), '#28 the error');
}

# requests decodes text/... without a charset as ISO-8859-1, and asks chardet
# otherwise; the type of an input and of a result is the same

my $b = run_batch(jsonl(1, body => sub {
    qq({"model":"m","messages":[{"role":"user","content":"$_[0] \xc3\xa9"}]})
}));
$r = http('GET', "/v1/files/$b->{output_file_id}/content");
is($r->{headers}{'content-type'}, 'application/octet-stream',
   '#29 no text/plain that a reader would take for ISO-8859-1');
like($r->{body}, qr/"You said: 1 \xc3\xa9"/, '#29 raw UTF-8 comes back');
is($r->{headers}{'content-encoding'}, undef, '#29 nothing encoded');
