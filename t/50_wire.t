# What clients put on the wire: t/wire has one upload of each, byte for byte.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Encode ();
use File::Basename qw(basename);
use Test::Nginx::Socket 'no_plan';

# The names that are expected when it is not in.jsonl: percent signs are undone
# only where a browser would have made them, whatever is in front of a backslash
# is a directory, and what is no UTF-8 is an underscore.  Then those that have
# an expires_after.

our %Name = (
    'aiohttp-02' => 'entr%C3%A9e%201.jsonl',
    'curl-06' => "c \x{e9}.jsonl",
    'dotnet-02' => "entr\x{e9}e 1.jsonl",
    'go-02' => "a \"quoted\" \x{e9}.jsonl",
    'go-03' => 'anonymous_file',
    'java-04' => 'entr_e "1".jsonl',
    'mono-02' => "entr\x{e9}e 1.jsonl",
    'node-02' => "entr\x{e9}e 1.jsonl",
    'node-04' => 'a "b" c.jsonl',
    'node4-01' => "entr\x{e9}e 1.jsonl",
    'okhttp-02' => "entr\x{e9}e \"1\".jsonl",
    'python-02' => "entr\x{e9}e 1.jsonl",
    'python-03' => 'upload',
    'python-04' => 'a "b" c.jsonl',
    'requests-02' => "entr\x{e9}e 1.jsonl",
    'requests-03' => 'file',
    'rubyfaraday-01' => "entr\x{e9}e 1.jsonl",
    'rubysdk-01' => 'a "b" c.jsonl',
);
our %Expires = map { $_ => 1 } qw(curl-06 curl-07 dotnet-02 java-02 node-02
                                  python-02);
our $Data = slurp('t/wire/in.jsonl');
our @Raw = map { [basename($_, '.raw'), slurp($_)] } sort glob 't/wire/*.raw';


# The answer of a recording; with Expect, the body follows when it is asked for.

sub replay {
    my ($raw, %o) = @_;
    my $c = $o{on} // BatchRaw->new;
    my ($head, $body) = $raw =~ /^(.*?\r\n\r\n)(.*)\z/s;

    $c->send($head, %o);

    if ($head =~ /^expect:/mi) {
        $c->fill;
        Test::More::is(substr($c->{in}, 0, 12), 'HTTP/1.1 100', 'asked for');
    }

    $c->send($body, %o);

    return ($c->answer, $c);
}


sub is_upload {
    my ($r, $name, $as) = @_;
    my $f = $r->{json};

    Test::More::is($r->{status}, 200, $name)
        or return Test::More::diag($r->{body});
    Test::More::is($f->{filename}, $Name{$as} // 'in.jsonl',
                   "$name: filename");
    Test::More::is($f->{purpose}, 'batch', "$name: purpose");
    Test::More::is($f->{bytes}, length $Data, "$name: bytes");
    Test::More::is($f->{expires_at} - $f->{created_at},
                   $Expires{$as} ? 3600 : 2592000, "$name: expires_at");
    Test::More::ok((content($f->{id}) // '') eq $Data, "$name: content");
}


# A body of four parts, whose pieces a test may change.

sub form {
    my (%o) = @_;
    my $b = $o{boundary} // 'b';
    my $file = $o{file} // 'Content-Disposition: form-data; name="file"; '
                           . 'filename="in.jsonl"';
    my $purpose = $o{purpose} // 'Content-Disposition: form-data; '
                                 . 'name="purpose"';

    return ($o{before} // '') . "--$b\r\n$file\r\n\r\n$Data\r\n--$b\r\n"
           . "$purpose\r\n\r\nbatch\r\n--$b--" . ($o{after} // "\r\n");
}


sub post {
    my ($body, $type, $how) = @_;

    return "POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: "
           . ($type // 'multipart/form-data; boundary=b') . "\r\n"
           . ($how // 'Content-Length: ' . length $body) . "\r\n\r\n$body";
}


sub chunks {
    my ($body, $size, $format, $end) = @_;

    return post(join('', map { sprintf $format, length, $_ }
                         unpack "(a$size)*", $body) . $end,
                undef, 'Transfer-Encoding: chunked');
}

run_tests();

__DATA__

=== TEST 1: every client's upload is the same file
--- flow
cmp_ok(scalar @main::Raw, '>', 30, 'recordings');

for (@main::Raw) {
    my ($name, $raw) = @$_;
    my ($r, $c) = main::replay($raw);

    like($r->{headers}{'x-request-id'}, qr/^[0-9a-f]{32}$/,
         "$name: X-Request-Id");

    if ($name eq 'java-03') {
        is($r->{status}, 400, "$name: no filename");
        like($r->{json}{error}{message}, qr/^The browser \(or proxy\)/,
             "$name: wording");

    } else {
        main::is_upload($r, $name, $name);
    }

    is($r->{headers}{connection}, 'keep-alive', "$name: keep-alive");
    ok($c->alive, "$name: it is");
}



=== TEST 2: the same a byte at a time, and all on one connection
--- flow
my $c = BatchRaw->new;

for (grep { $_->[0] ne 'java-03' } @main::Raw) {
    my ($name, $raw) = @$_;

    main::is_upload((main::replay($raw, step => 1))[0], "$name by bytes",
                    $name);
    $raw =~ s/^connection:[^\n]*\n//mi;
    main::is_upload((main::replay($raw, on => $c))[0], "$name on one", $name);
}

# two at once, the second one before the first one's answer

my @two = map { $_->[1] } grep { $_->[0] =~ /^(node-01|curl-02)$/ }
          @main::Raw;

$c->send(join '', @two);
main::is_upload($c->answer, "pipelined $_", 'curl-02') for 1, 2;



=== TEST 3: a batch from one of them
--- flow
my ($raw) = map { $_->[1] } grep { $_->[0] eq 'node-01' } @main::Raw;
my ($r) = main::replay($raw);
my $b = wait_batch(create_batch($r->{json}{id})->{json}{id});

is($b->{status}, 'completed', 'completed');
is($b->{request_counts}{completed}, 3, 'all lines');

my $l = by_id(output_lines($b));

is($l->{'a-1'}{response}{body}{choices}[0]{message}{content},
   "You said: Zeile \x{2116} 1 \x{2014} \x{4f60}\x{597d}", 'UTF-8 survives');
is($l->{'a-2'}{response}{body}{choices}[0]{message}{content},
   "You said: --boundary\r\n--", 'and what looks like a boundary');



=== TEST 4: other ways to say the same
--- flow
my $mp = 'multipart/form-data; boundary=b';
my $cd = 'Content-Disposition: form-data; ';
my @cases = (
    ['quoted boundary', main::form(boundary => 'a b:c=d'),
     'multipart/form-data; boundary="a b:c=d"'],
    ['boundary, other parameters, capitals', main::form(boundary => 'xY'),
     'Multipart/Form-Data;charset=utf-8 ; BOUNDARY=xY; x="y;boundary=z"'],
    ['70 characters', main::form(boundary => 'x' x 70),
     'multipart/form-data; boundary=' . 'x' x 70],
    ['no CRLF at the end', main::form(after => '')],
    ['an epilogue', main::form(after => "\r\nthe end\r\n--b\r\n")],
    ['a preamble', main::form(before => "This is multipart.\r\n\r\n")],
    ['an empty line first', main::form(before => "\r\n")],
    ['white space behind a boundary',
     main::form() =~ s/--b\r\n/--b \t\r\n/gr],
    ['header names in capitals', main::form(
     file => uc('content-disposition') . ': FORM-DATA; NAME=file; '
             . 'FILENAME=in.jsonl')],
    ['no white space', main::form(
     file => 'content-disposition:form-data;name=file;filename=in.jsonl')],
    ['other headers', main::form(file => "X-A: b\r\n${cd}name=\"file\"; "
     . "filename=\"in.jsonl\"\r\nContent-Type: text/plain\r\n"
     . "Content-Transfer-Encoding: binary\r\nContent-Length: 3")],
    ['parameters the other way round', main::form(
     file => $cd . 'filename="in.jsonl"; size=3; name="file"')],
    ['filename* only', main::form(
     file => $cd . "name=file; filename*=UTF-8''in%2Ejsonl")],
    ['filename* wins', main::form(
     file => $cd . "name=file; filename*=utf-8'en'in.jsonl; filename=x")],
    ['a path', main::form(
     file => $cd . 'name=file; filename="C:\\dir\\in.jsonl"')],
    ['a path of Unix', main::form(
     file => $cd . 'name=file; filename="../../etc/in.jsonl"')],
);

for (@cases) {
    my ($name, $body, $type) = @$_;

    for my $step (65536, 1) {
        my $c = BatchRaw->new;

        $c->send(main::post($body, $type), step => $step);
        main::is_upload($c->answer, "$name by $step", '');
        ok($c->alive, "$name: keep-alive");
    }
}

for ([1, "%x\r\n%s\r\n", "0\r\n\r\n", 'chunks of a byte'],
     [7, "%X;a=b\r\n%s\r\n", "0\r\n\r\n", 'extensions'],
     [30, "%X;a=\"b c\";d\r\n%s\r\n", "0;x\r\n\r\n", 'quoted extensions'],
     [200, "000%x\r\n%s\r\n", "000\r\n\r\n", 'leading zeros'],
     [99, "%x\r\n%s\r\n", "0\r\nX-Sum: 1\r\nX: y\r\n\r\n", 'trailers'])
{
    my ($size, $format, $end, $name) = @$_;

    for my $step (65536, 1) {
        my $c = BatchRaw->new;

        $c->send(main::chunks(main::form(), $size, $format, $end),
                 step => $step);
        main::is_upload($c->answer, "$name by $step", '');
        ok($c->alive, "$name: keep-alive");
    }
}

# HTTP/1.0, as some proxies speak it

my $c = BatchRaw->new;
$c->send(main::post(main::form()) =~ s/HTTP\/1\.1/HTTP\/1.0/r);
main::is_upload($c->answer, 'HTTP/1.0', '');



=== TEST 5: Expect: 100-continue
--- api_config
batch_max_file_size 100k;
--- flow
my $post = main::post(main::form());
my ($head, $body) = $post =~ /^(.*?\r\n)\r\n(.*)\z/s;
my $c = BatchRaw->new;

# the body right behind the head, without waiting

$c->send("${head}Expect: 100-continue\r\n\r\n$body");
main::is_upload($c->answer, 'did not wait', '');
ok($c->alive, 'keep-alive');

# 100 comes before the body, also when it will be chunked

($head, $body) = main::chunks(main::form(), 50, "%x\r\n%s\r\n", "0\r\n\r\n")
                 =~ /^(.*?\r\n)\r\n(.*)\z/s;
$c->send("${head}Expect: 100-continue\r\n\r\n");
$c->fill;
like($c->{in}, qr{^HTTP/1\.1 100 Continue\r\n\r\n\z}, 'asked for');
$c->send($body);
main::is_upload($c->answer, 'chunked', '');
ok($c->alive, 'keep-alive');

# none for what is refused by its head

for (['POST /v1/files', 'multipart/form-data; boundary=b', 1200000, 413],
     ['POST /v1/files', 'text/plain', 1000, 400],
     ['POST /v1/batches', 'application/json', 70000, 413],
     ['POST /v1/files/x/y', 'x/y', 1000, 404],
     ['DELETE /v1/files', 'x/y', 1000, 405])
{
    my ($line, $type, $length, $status) = @$_;

    my $e = BatchRaw->new;
    $e->send("$line HTTP/1.1\r\nHost: x\r\nContent-Type: $type\r\n"
             . "Content-Length: $length\r\nExpect: 100-continue\r\n\r\n");
    $e->fill;
    like($e->{in}, qr{^HTTP/1\.1 $status }, "$line, $type: at once");
}



=== TEST 6: a refusal leaves the connection to the next request
--- api_config
batch_max_file_size 300000;
--- flow
my ($body, $mp) = multipart(purpose => 'batch',
                            file => { data => jsonl(1), filename => 'a' });
my $f = upload(jsonl(1))->{json}{id};
my $b = run_batch(jsonl(1));
my $u = api('POST', '/v1/uploads', { filename => 'a', purpose => 'batch',
            mime_type => 'x/y', bytes => 10 })->{json}{id};
my $no = 'file-' . '0' x 22;
my $json = 'application/json';
my $bad = (multipart(purpose => 'nothing', file =>
                     { data => jsonl(500), filename => 'a' }))[0];
my $text = (multipart(purpose => 'batch', file =>
                      { data => 'x' x 100000, filename => 'a' }))[0];
my $large = (multipart(purpose => 'batch', file =>
                       { data => jsonl(3000), filename => 'a' }))[0];
my $type = sub { "multipart/form-data; boundary="
                 . ($_[0] =~ /^--(.*)\r/)[0] };

my @cases = (
    [GET => "/v1/files/$no", 404], [DELETE => "/v1/files/$no", 404],
    [GET => "/v1/files/$no/content", 404], [GET => '/v1/files/x', 404],
    [GET => '/v1/files/x/y/z', 404],
    [GET => '/v1/files?limit=x', 400], [GET => '/v1/files?order=x', 400],
    [GET => '/v1/batches?limit=101', 400], [GET => '/v1/batches/x', 404],
    [PUT => '/v1/files', 405, 'x' x 1000, $json],
    [DELETE => '/v1/batches', 405], [POST => "/v1/files/$f", 405, 'x'],
    [POST => '/v1/files', 400], [POST => '/v1/files', 400, ''],
    [POST => '/v1/files', 400, 'x' x 1000, 'text/plain'],
    [POST => '/v1/files', 400, 'x' x 1000, 'multipart/form-data'],
    [POST => '/v1/files', 400, "--b\r\n\r\n", 'multipart/form-data; boundary=b'],
    [POST => '/v1/files', 400, substr($body, 0, -30), $mp],
    [POST => '/v1/files', 400, $bad, $type->($bad)],
    [POST => '/v1/files', 400, $text, $type->($text)],
    [POST => '/v1/files', 413, $large, $type->($large)],
    [POST => '/v1/files', 415, $body, $mp, 'Content-Encoding', 'br'],
    [POST => '/v1/files', 400, $body, $mp, 'Idempotency-Key', 'x' x 256],
    [POST => '/v1/batches', 400], [POST => '/v1/batches', 400, '{', $json],
    [POST => '/v1/batches', 400, '[]', $json],
    [POST => '/v1/batches', 400, '{}', $json],
    [POST => '/v1/batches', 413, '{' . ' ' x 70000, $json],
    [POST => '/v1/batches', 415, '{}', $json, 'Content-Encoding', 'gzip'],
    [POST => "/v1/batches/$b->{id}/cancel", 409, '{}', $json],
    [POST => '/v1/batches/x/cancel', 404, 'x' x 1000],
    [POST => '/v1/uploads', 400, '{}', $json],
    [POST => "/v1/uploads/$u/parts", 400, $body, $mp],
    [POST => "/v1/uploads/$u/parts", 400, 'x' x 100, 'x/y'],
    [POST => '/v1/uploads/x/parts', 404, $body, $mp],
    [POST => "/v1/uploads/$u/complete", 400, '{}', $json],
    [POST => "/v1/uploads/$u/complete", 400, '{"part_ids":[]}', $json],
    [POST => '/v1/uploads/x/complete', 404, '{"part_ids":["a"]}', $json],
    [POST => '/v1/uploads/x/cancel', 404],
);

for my $o ({}, { chunk => 1000 }) {
    my $c = BatchRaw->new;

    for (@cases) {
        my ($method, $path, $status, $data, $t, @h) = @$_;
        my $name = join ' ', $method, $path, length($data // ''), $t // '',
                             %$o;
        my $r = $c->request($method, $path, $data, %$o, headers =>
                            [$t ? ('Content-Type' => $t) : (), @h]);

        is($r->{status}, $status, $name);
        like($r->{headers}{'x-request-id'}, qr/^[0-9a-f]{32}$/,
             "$name: X-Request-Id");
        is($r->{json}{error} && join(' ', sort keys %{ $r->{json}{error} }),
           'code message param type', "$name: four keys");

        # what is long may cost the connection, but not the answer

        if ($r->{headers}{connection} eq 'close') {
            cmp_ok(length $data, '>=', $o->{chunk} ? 1 : 65536,
                   "$name: closed");
            $c = BatchRaw->new;

        } else {
            ok($c->alive, "$name: keep-alive");
        }
    }
}
