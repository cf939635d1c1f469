use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

# GET and HEAD of a file's content.

run_tests();

__DATA__

=== TEST 1: headers, ranges, conditions
--- flow
my $data = jsonl(100);
my $id = upload($data, filename => 'in.jsonl')->{json}{id};
my $path = "/v1/files/$id/content";
my $c = BatchRaw->new;

my $r = $c->request('GET', $path, undef,
                    headers => [Accept => 'application/binary']);
my $h = $r->{headers};

is($r->{status}, 200, 'found');
is($r->{body}, $data, 'the same bytes');
is($h->{'content-type'}, 'application/octet-stream', 'type');
is($h->{'content-length'}, length $data, 'length');
is($h->{'content-disposition'}, 'attachment; filename="in.jsonl"', 'name');
is($h->{'x-content-type-options'}, 'nosniff', 'nosniff');
is($h->{etag}, "\"$id\"", 'ETag');
like($h->{'last-modified'}, qr/GMT$/, 'Last-Modified');
like($h->{'x-request-id'}, qr/^[0-9a-f]{32}$/, 'X-Request-Id');

$r = $c->request('HEAD', $path);
is($r->{status}, 200, 'HEAD');
is($r->{headers}{'content-length'}, length $data, 'its length');
ok($c->alive, 'keep-alive');

for (['bytes=0-9', substr $data, 0, 10], ['bytes=-5', substr $data, -5],
     ['bytes=100-', substr $data, 100])
{
    $r = $c->request('GET', $path, undef, headers => [Range => $_->[0]]);
    is($r->{status}, 206, "Range: $_->[0]");
    is($r->{body}, $_->[1], 'the bytes');
}

$r = $c->request('GET', $path, undef, headers => [Range => 'bytes=0-1,5-6']);
is($r->{status}, 200, 'several ranges: all of it');
is($r->{body}, $data, 'all');

$r = $c->request('GET', $path, undef, headers => [Range => 'bytes=999999-']);
is($r->{status}, 416, 'no such range');
is($r->{json}{error}{type}, 'invalid_request_error', 'in JSON');
is($r->{headers}{'content-range'}, 'bytes */' . length $data, 'Content-Range');
is($r->{headers}{'content-disposition'}, undef, 'not a file any more');
ok($c->alive, 'keep-alive');

for (['If-None-Match' => $h->{etag}],
     ['If-Modified-Since' => $h->{'last-modified'}])
{
    $r = $c->request('GET', $path, undef, headers => $_);
    is($r->{status}, 304, $_->[0]);
    ok($c->alive, 'keep-alive');
}

$r = $c->request('GET', $path, undef,
                 headers => ['If-Range' => '"x"', Range => 'bytes=0-1']);
is($r->{status}, 200, 'If-Range of another');



=== TEST 2: what may not be downloaded
--- flow
for my $purpose ('assistants', 'user_data') {
    my $id = upload('x', purpose => $purpose)->{json}{id};
    my $r = api('GET', "/v1/files/$id/content");

    is($r->{status}, 400, $purpose);
    is($r->{json}{error}{message},
       "Not allowed to download files of purpose: $purpose", 'wording');
}

my $id = upload('x' x 10, purpose => 'vision')->{json}{id};
is(content($id), 'x' x 10, 'vision may');

$id = upload('', purpose => 'vision')->{json}{id};
is(content($id), '', 'also if it is empty');



=== TEST 3: names that want to be headers
--- flow
for (['a"; filename="b.exe', undef], ["\xc3\xa9.jsonl", "%C3%A9.jsonl"],
     ['100%.jsonl', '100%25.jsonl'])
{
    my $id = upload(jsonl(1), filename => $_->[0] =~ s/"/%22/gr)->{json}{id};
    my $d = http('GET', "/v1/files/$id/content")
            ->{headers}{'content-disposition'};

    like($d, qr/^attachment; filename="[^"\\]*"(; filename\*=UTF-8''[!-~]+)?$/,
         'well-formed');
    like($d, qr/filename\*=UTF-8''\Q$_->[1]\E$/, 'and true') if $_->[1];
}



=== TEST 4: a large file, and one deleted while it is downloaded
--- flow
my $data = jsonl(100000);
my $id = upload($data)->{json}{id};

ok(content($id) eq $data, length($data) . ' bytes');

my $c = BatchRaw->new;

$c->send("GET /v1/files/$id/content HTTP/1.1\r\nHost: x\r\n\r\n");
$c->fill;
is(api('DELETE', "/v1/files/$id")->{status}, 200, 'deleted meanwhile');
ok($c->answer->{body} eq $data, 'the download is complete');
