use lib 't/lib';
use BatchTest;
use BatchDamage;
use BatchRaw;
use Digest::MD5 qw(md5_hex);
use Test::Nginx::Socket 'no_plan';

# The Uploads API.  Numbers in brackets are those of the list of what clients
# of OpenAI's service rely on.

sub unknown { return 'upload_' . '0' x 32 }


sub create_upload {
    my (%o) = @_;
    my @http = @{ delete $o{http} // [] };

    return api('POST', '/v1/uploads',
               { filename => 'in.jsonl', purpose => 'batch',
                 mime_type => 'text/jsonl', %o }, @http);
}


sub add_part {
    my ($id, $data, %o) = @_;
    my ($body, $type) = multipart(data => { data => $data,
                                            filename => 'blob' });

    return api('POST', "/v1/uploads/$id/parts", undef, %o, body => $body,
               headers => [@{ $o{headers} // [] }, 'Content-Type' => $type]);
}


sub complete_upload {
    my ($id, $parts, %o) = @_;
    my @http = @{ delete $o{http} // [] };

    return api('POST', "/v1/uploads/$id/complete",
               { part_ids => $parts, %o }, @http);
}


sub message { return $_[0]{json}{error}{message} }

sub upload_dir {
    my ($id) = @_;

    return store_dir() . '/uploads/' . substr($id, 7, 2) . "/$id";
}


# Moves the upload's end in time, as if it had been created earlier.

sub age {
    my ($id, $seconds) = @_;
    my $file = upload_dir($id) . '/upload.json';
    my $o = json_decode(slurp($file));

    $o->{created_us} -= $seconds * 1e6;
    $o->{expires_at} -= $seconds;

    delete $o->{crc};
    BatchDamage::manifest($file, json_encode($o));
}

run_tests();

__DATA__

=== TEST 1: an upload's life [31, 34, 39]
--- flow
my $data = jsonl(9);
my @piece = unpack '(a400)*', $data;
my $r = create_upload(bytes => length $data);
my $u = $r->{json};

is($r->{status}, 200, 'create');
like($u->{id}, qr/^upload_[0-9a-f]{32}$/, 'id');
is(join(' ', $r->{body} =~ /"(\w+)":/g),
   'id object bytes created_at filename purpose status expires_at',
   'keys and their order, no file');
is($u->{object}, 'upload', 'object');
is($u->{bytes}, length $data, 'bytes');
is($u->{status}, 'pending', 'status');
is($u->{expires_at}, $u->{created_at} + 3600, 'expires_at');

my %part;

# sent in another order than they are named later

for my $i (reverse 0 .. $#piece) {
    $r = add_part($u->{id}, $piece[$i]);
    is($r->{status}, 200, "part $i");
    like($r->{body}, qr/^\{"id":"part_[0-9a-f]{32}","object":"upload.part",
                         "created_at":\d+,"upload_id":"$u->{id}"\}$/x,
         'part object');
    $part{$i} = $r->{json}{id};
}

is(api('GET', "/v1/uploads/$u->{id}")->{json}{status}, 'pending', 'GET');

$r = complete_upload($u->{id}, [map { $part{$_} } 0 .. $#piece],
                     md5 => main::md5_hex($data));

is($r->{status}, 200, 'complete');
is($r->{json}{status}, 'completed', 'status');
is(join(' ', $r->{body} =~ /"(\w+)":/g),
   'id object bytes created_at filename purpose status expires_at file '
   . 'object id purpose filename bytes created_at expires_at status '
   . 'status_details', 'keys and their order, with file');

my $f = $r->{json}{file};

is($f->{created_at}, $u->{created_at}, 'created_at is the upload\'s');
is($f->{expires_at}, $f->{created_at} + 2592000, 'expires_at');
is($f->{filename}, 'in.jsonl', 'filename');
is($f->{bytes}, length $data, 'bytes');
ok((content($f->{id}) // '') eq $data, 'the parts, in the order of part_ids');
is_deeply(api('GET', "/v1/files/$f->{id}")->{json}, $f, 'GET of the file');
is(api('GET', '/v1/files')->{json}{data}[0]{id}, $f->{id}, 'it is listed');

my $again = complete_upload($u->{id}, [map { $part{$_} } 0 .. $#piece]);

is($again->{body}, $r->{body}, 'repeated: the same answer');
is(api('GET', "/v1/uploads/$u->{id}")->{body}, $r->{body}, 'GET, too');

my $b = wait_batch(create_batch($f->{id})->{json}{id});

is($b->{status}, 'completed', 'its batch completes');
is($b->{request_counts}{completed}, 9, 'all of it');

is_deeply([sort map { s/.*\///r } glob(upload_dir($u->{id}) . '/*')],
          ['end.json', 'upload.json'], 'no part is left');
is(scalar(glob(store_dir() . '/tmp/*')), undef, 'no tmp file');



=== TEST 2: what create refuses [32]
--- api_config
batch_max_file_size 1m;
--- flow
my %ok = (filename => 'a', purpose => 'batch', mime_type => 'text/jsonl',
          bytes => 10);

my @cases = (
    ['no filename', 'filename', 'missing_required_parameter',
     { filename => undef }],
    ['no purpose', 'purpose', 'missing_required_parameter',
     { purpose => undef }],
    ['no bytes', 'bytes', 'missing_required_parameter', { bytes => undef }],
    ['no mime_type', 'mime_type', 'missing_required_parameter',
     { mime_type => undef }],
    ['bad purpose', 'purpose', undef, { purpose => 'x' }],
    ['bytes as text', 'bytes', 'invalid_type', { bytes => '10' }],
    ['0 bytes', 'bytes', 'integer_below_min_value', { bytes => 0 }],
    ['1 MB and a byte', 'bytes', 'integer_above_max_value',
     { bytes => 1048577 }],
    ['8 GB and a byte', 'bytes', 'integer_above_max_value',
     { bytes => 8589934593, purpose => 'user_data' }],
    ['filename is a number', 'filename', 'invalid_type', { filename => 1 }],
    ['only a directory', 'filename', 'invalid_value', { filename => 'a/' }],
    ['long mime_type', 'mime_type', 'string_above_max_length',
     { mime_type => 'x' x 256 }],
    ['expires_after', 'expires_after.seconds', 'integer_below_min_value',
     { expires_after => { anchor => 'created_at', seconds => 1 } }],
);

for (@cases) {
    my ($name, $param, $code, $change) = @$_;
    my %h = (%ok, %$change);

    delete $h{$_} for grep { !defined $h{$_} } keys %h;

    my $r = api('POST', '/v1/uploads', \%h);

    is($r->{status}, 400, $name);
    is($r->{json}{error}{param}, $param, "$name: param");
    is($r->{json}{error}{code}, $code, "$name: code");
}

is(scalar(glob(store_dir() . '/uploads/*')), undef, 'nothing was made');

my $r = api('POST', '/v1/uploads', undef, body => json_encode(\%ok),
            headers => ['Content-Type' =>
                        'application/x-www-form-urlencoded']);
is($r->{status}, 200, 'JSON whatever its Content-Type');

$r = create_upload(bytes => 8589934592, purpose => 'user_data',
                   filename => '/etc/../b\\c.txt',
                   expires_after => { anchor => 'created_at',
                                      seconds => 3600 });
is($r->{status}, 200, '8 GB of another purpose');
is($r->{json}{filename}, 'c.txt', 'no directories');

my $ID = unknown();

for (['GET', ''], ['PUT', ''], ['DELETE', "/$ID"], ['GET', "/$ID/parts"],
     ['GET', "/$ID/complete"], ['GET', "/$ID/cancel"])
{
    $r = api($_->[0], "/v1/uploads$_->[1]");
    is($r->{status}, 405, "$_->[0] /v1/uploads$_->[1]");
    ok($r->{headers}{allow}, 'Allow');
}

is(api('POST', "/v1/uploads/$ID/x")->{status}, 404, 'unknown action');
is(api('POST', "/v1/uploads/$ID/content")->{status}, 404, 'of files only');
is(api('POST', "/v1/files/$ID/parts")->{status}, 404, 'of uploads only');



=== TEST 3: what complete refuses, the upload stays pending [35, 36]
--- flow
my $data = jsonl(4);
my $id = create_upload(bytes => length $data)->{json}{id};
my $half = int(length($data) / 2) - 10;
my $a = add_part($id, substr $data, 0, $half)->{json}{id};
my $b = add_part($id, substr $data, $half)->{json}{id};
my $c = add_part($id, 'x' x $half)->{json}{id};
my $other = create_upload(bytes => 3)->{json}{id};
my $foreign = add_part($other, 'abc')->{json}{id};
my $unknown = 'part_' . '1' x 32;

my @cases = (
    ['no part_ids', 'missing_required_parameter', {}],
    ['part_ids is a string', 'invalid_type', { part_ids => $a }],
    ['part_ids is empty', 'invalid_value', { part_ids => [] }],
    ['a number', 'invalid_type', { part_ids => [1] }],
    ['too many', 'invalid_value', { part_ids => [(0) x 5000] }],
    ['twice', 'invalid_value', { part_ids => [$a, $b, $a] }],
    ['malformed', 'invalid_value', { part_ids => [$a, '../end.json'] }],
    ['unknown', 'invalid_value', { part_ids => [$a, $unknown] }],
    ['of another upload', 'invalid_value', { part_ids => [$a, $foreign] }],
    ['too few', 'invalid_value', { part_ids => [$a] }],
    ['too many bytes', 'invalid_value', { part_ids => [$a, $b, $c] }],
    ['MD5 of something else', 'invalid_value',
     { part_ids => [$a, $b], md5 => '0' x 32 }],
    ['MD5 of 31 digits', 'invalid_value',
     { part_ids => [$a, $b], md5 => '0' x 31 }],
);

for (@cases) {
    my ($name, $code, $body) = @$_;
    my $r = api('POST', "/v1/uploads/$id/complete", $body);

    is($r->{status}, 400, $name);
    is($r->{json}{error}{code}, $code, "$name: code");
    is($r->{json}{error}{param}, $body->{md5} ? 'md5' : 'part_ids',
       "$name: param");
    is(api('GET', "/v1/uploads/$id")->{json}{status}, 'pending', 'pending');
}

like(complete_upload($id, [$b, $a])->{json}{error}{message},
     qr/^Invalid file format for Batch API\. Must be \.jsonl\. Line 1: /,
     'no JSONL');
is(scalar(glob(store_dir() . '/files/*/*')), undef, 'no file');
is(scalar(glob(store_dir() . '/tmp/*')), undef, 'no tmp file');
is(scalar(() = glob(upload_dir($id) . '/*')), 4, 'nor a joined one');

is(message(complete_upload($id, [$a])), "The parts add up to $half bytes, "
   . 'but the upload was created with ' . length($data) . ' bytes.',
   'wording');

my $r = complete_upload($id, [$a, $b], md5 => uc main::md5_hex($data));
is($r->{status}, 200, 'and then it completes');

$r = complete_upload($id, [$b, $a]);
is($r->{status}, 400, 'other parts, after it');
is(message($r), "Cannot complete an upload with status 'completed'.",
   'wording');
is(add_part($id, 'x')->{status}, 400, 'no part after it');
is(api('POST', "/v1/uploads/$id/cancel")->{status}, 400, 'no cancel');



=== TEST 4: cancel [37]
--- flow
my $id = create_upload(bytes => 10)->{json}{id};
my $part = add_part($id, '{"a":1234}')->{json}{id};
my $r = api('POST', "/v1/uploads/$id/cancel");

is($r->{status}, 200, 'cancel');
is($r->{json}{status}, 'cancelled', 'status');
is($r->{json}{file}, undef, 'no file');
is(api('POST', "/v1/uploads/$id/cancel")->{body}, $r->{body}, 'again');
is(api('GET', "/v1/uploads/$id")->{body}, $r->{body}, 'GET');

$r = add_part($id, 'x');
is($r->{status}, 400, 'no part after it');
is(message($r), "Cannot add a part to an upload with status 'cancelled'.",
   'wording');

$r = complete_upload($id, [$part]);
is($r->{status}, 400, 'no complete');
is_deeply([sort map { s/.*\///r } glob(upload_dir($id) . '/*')],
          ['end.json', 'upload.json'], 'no part is left');



=== TEST 5: unknown ids, and those of another tenant, are the same
--- api_config
batch_tenant $http_x_tenant;
--- flow
my @a = (headers => ['X-Tenant' => 'a']);
my @b = (headers => ['X-Tenant' => 'b']);
my $id = create_upload(bytes => 10, http => \@a)->{json}{id};
my $part = add_part($id, '{"a":1234}', @a)->{json}{id};

for my $x ($id, unknown(), 'upload_x', 'file-' . '0' x 22) {
    for (['GET', ''], ['POST', '/cancel'], ['POST', '/parts'],
         ['POST', '/complete'])
    {
        my ($method, $what) = @$_;
        my $r = $what eq '/parts' ? add_part($x, 'x', @b)
            : $what eq '/complete' ? complete_upload($x, [$part],
                                                     http => \@b)
            : api($method, "/v1/uploads/$x$what", undef, @b);

        is($r->{status}, 404, "$method $x$what");
        is($r->{body}, '{"error":{"message":"No such Upload object: ' . $x
           . '","type":"invalid_request_error","param":"id","code":null}}',
           'wording');
    }
}

is(api('GET', "/v1/uploads/$id", undef, @a)->{json}{status}, 'pending',
   'nothing has happened to it');

my $r = complete_upload($id, [$part], http => \@a);

is($r->{status}, 200, 'its own tenant completes it');
is(api('GET', "/v1/files/$r->{json}{file}{id}", undef, @b)->{status}, 404,
   'the file is the tenant\'s');
is(api('GET', "/v1/files/$r->{json}{file}{id}", undef, @a)->{status}, 200,
   'the other\'s');



=== TEST 6: parts of 64 MB, one of them a byte too large [33]
--- timeout: 120
--- flow
my $max = 64 * 1024 * 1024;
my $line = '{"a":"' . 'b' x 1014 . qq("}\n);
my $data = substr $line x ($max / length($line) + 1), 0, $max;
my $id = create_upload(bytes => $max + 5)->{json}{id};
my @o = (timeout => 60);
my $a = add_part($id, $data, @o);

is($a->{status}, 200, '64 MB');

my $r = add_part($id, "${data}x", @o);

is($r->{status}, 413, 'a byte more');
is(message($r), 'Part is too large. Expected at most 67108864 bytes.',
   'wording');

$r = add_part($id, "${data}x", @o, chunked => 1000000);
is($r->{status}, 413, 'a byte more, chunked');

my ($body, $type) = multipart(data => { data => 'x' x ($max + 2e6) });
my $c = BatchRaw->new;
$c->send("POST /v1/uploads/$id/parts HTTP/1.1\r\nHost: x\r\n"
         . "Content-Type: $type\r\nExpect: 100-continue\r\n"
         . 'Content-Length: ' . length($body) . "\r\n\r\n");
$r = $c->answer;
is($r->{status}, 413, 'refused by its length, without 100');
undef $body;

my $b = add_part($id, "{}\n{}");
$r = complete_upload($id, [$a->{json}{id}, $b->{json}{id}], http => \@o,
                     md5 => main::md5_hex("$data\{}\n{}"));
is($r->{status}, 200, 'complete');
ok((content($r->{json}{file}{id}, @o) // '') eq "$data\{}\n{}", 'content');



=== TEST 7: parts at the same time, from several connections
--- flow
my $data = jsonl(3000);
my $n = 8;
my $size = int(length($data) / $n) + 1;
my @piece = unpack "(a$size)*", $data;
my $id = create_upload(bytes => length $data)->{json}{id};
my @c = map { BatchRaw->new } @piece;
my @body = map { [multipart(data => { data => $_ })] } @piece;

# the heads first, then the bodies in turns

for my $i (0 .. $#piece) {
    my ($body, $type) = @{ $body[$i] };

    $c[$i]->send("POST /v1/uploads/$id/parts HTTP/1.1\r\nHost: x\r\n"
                 . "Content-Type: $type\r\nContent-Length: "
                 . length($body) . "\r\n\r\n");
}

for my $half (0, 1) {
    for my $i (reverse 0 .. $#piece) {
        my $body = $body[$i][0];
        my $at = int(length($body) / 2);

        $c[$i]->send($half ? substr $body, $at : substr $body, 0, $at);
    }
}

my @part = map { $_->answer->{json}{id} } @c;

is(scalar(grep { defined } @part), $n, 'all parts');
is($_->alive, 1, 'keep-alive') for @c;

my $r = complete_upload($id, \@part, md5 => main::md5_hex($data));

is($r->{status}, 200, 'complete');
ok((content($r->{json}{file}{id}) // '') eq $data, 'content');



=== TEST 8: bodies of parts
--- flow
my $id = create_upload(bytes => 10)->{json}{id};
my $path = "/v1/uploads/$id/parts";

my ($body, $type) = multipart(file => 'x');
my $r = api('POST', $path, undef, body => $body,
            headers => ['Content-Type' => $type]);
is($r->{status}, 400, 'another field');
is($r->{json}{error}{param}, 'data', 'param');

($body, $type) = multipart(data => '{"a":1234}', x => 'y' x 100000);
for my $o ({}, { step => 1 }, { chunk => 3 }) {
    next if $o->{step};
    my $c = BatchRaw->new;
    $r = $c->request('POST', $path, $body, %$o,
                     headers => ['Content-Type' => $type]);
    is($r->{status}, 200, 'without a filename, more fields');
    ok($c->alive, 'keep-alive');
}

($body, $type) = multipart(data => 'x', data => 'y');
$id = create_upload(bytes => 10)->{json}{id};
$path = "/v1/uploads/$id/parts";
$r = api('POST', $path, undef, body => $body,
         headers => ['Content-Type' => $type]);
is($r->{json}{error}{code}, 'duplicate_parameter', 'two of them');

$r = api('POST', $path, {});
is($r->{status}, 400, 'JSON');
ok($r->{json}{error}{message}, 'says why');

$r = api('POST', $path);
is($r->{json}{error}{param}, 'data', 'nothing');

# a client that leaves in the middle

$id = create_upload(bytes => 1000000)->{json}{id};
$path = "/v1/uploads/$id/parts";

($body, $type) = multipart(data => 'x' x 1000000);
my $c = BatchRaw->new;
$c->send("POST $path HTTP/1.1\r\nHost: x\r\nContent-Type: $type\r\n"
         . 'Content-Length: ' . length($body) . "\r\n\r\n"
         . substr $body, 0, 900000);
wait_until(sub { scalar(() = glob(store_dir() . '/tmp/*')) });
$c->abort;
ok(wait_until(sub { !glob(store_dir() . '/tmp/*') }), 'no tmp file is left');
is(scalar(() = glob(upload_dir($id) . '/part_*')), 0, 'no part');

# there is an end to parts that are never used: each may be sent twice

my $small = create_upload(bytes => 10)->{json}{id};
my $n = 0;

$r = add_part($small, 'x' x 11);
is($r->{status}, 413, 'a part larger than its file');
is(message($r), 'Part is too large. Expected at most 10 bytes, as the upload'
   . ' has.', 'wording');

while ($n < 12) {
    $r = add_part($small, 'xxx');
    last unless $r->{status} == 200;
    $n++;
}

is($n, 6, 'parts of 3 bytes for a file of 10');
is($r->{json}{error}{code}, 'too_many_parts', 'code');



=== TEST 9: expiry [38]
--- flow
my $id = create_upload(bytes => 10)->{json}{id};
my $part = add_part($id, '{"a":1234}')->{json}{id};

age($id, 3595);
is(api('GET', "/v1/uploads/$id")->{json}{status}, 'pending', 'almost');
age($id, 10);
is(api('GET', "/v1/uploads/$id")->{json}{status}, 'expired', 'after an hour');

my $r = add_part($id, 'x');
is($r->{status}, 400, 'no part');
is(message($r), "Cannot add a part to an upload with status 'expired'.",
   'wording');
is(complete_upload($id, [$part])->{status}, 400, 'no complete');
is(api('POST', "/v1/uploads/$id/cancel")->{status}, 400, 'no cancel');
ok(-e upload_dir($id) . "/$part", 'its part is kept for a while');

# the sweep runs soon after the start of a worker

my $done = create_upload(bytes => 10)->{json}{id};
$part = add_part($done, '{"a":1234}')->{json}{id};
my $file = complete_upload($done, [$part])->{json}{file}{id};

my $young = create_upload(bytes => 10)->{json}{id};
my $half = upload_dir($young) =~ s/[0-9a-f]{30}$/'e' x 30/er;
mkdir $half;
utime 1, 1, $half;
chmod 0700, $half;
chown((stat upload_dir($young))[4, 5], $half);

age($id, 700);
age($done, 90000);
nginx_stop('QUIT');
nginx_start();
wait_ready();

ok(wait_until(sub { -e upload_dir($id) . '/end.json' }), 'marked');
ok(wait_until(sub { !glob(upload_dir($id) . '/part_*') }), 'no parts');
is(api('GET', "/v1/uploads/$id")->{json}{status}, 'expired', 'still expired');
ok(wait_until(sub { !-e upload_dir($done) }), 'a day later nothing is left');
is(api('GET', "/v1/uploads/$done")->{status}, 404, 'not known any more');
is(content($file), '{"a":1234}', 'but its file is');
ok(wait_until(sub { !-e $half }), 'half a creation is deleted');
is(api('GET', "/v1/uploads/$young")->{json}{status}, 'pending',
   'the young one stays');



=== TEST 10: nginx dies, Redis loses everything: the disk is the truth
--- flow
my $data = jsonl(20);
my $half = int(length($data) / 2);
my $id = create_upload(bytes => length $data)->{json}{id};
my $a = add_part($id, substr $data, 0, $half)->{json}{id};

nginx_stop('KILL');
redis('FLUSHALL');
nginx_start();
wait_ready();

my $b = add_part($id, substr $data, $half)->{json}{id};
my $r = complete_upload($id, [$a, $b]);
my $f = $r->{json}{file};

is($r->{status}, 200, 'completed');
ok((content($f->{id}) // '') eq $data, 'content');

# as if it had died behind the commit, before there was a file: whoever
# repeats the call, or the next sweep, makes it

my $blob = store_dir() . '/files/' . substr($f->{id}, 5, 2) . "/$f->{id}";

for my $who ('the client', 'the sweep') {
    nginx_stop('KILL');
    rename $blob, upload_dir($id) . "/$f->{id}";
    unlink "$blob.json";
    redis('FLUSHALL');
    nginx_start();

    if ($who eq 'the client') {
        wait_until(sub { complete_upload($id, [$a, $b])->{status} == 200 });
    }

    ok(wait_until(sub { (content($f->{id}) // '') eq $data }),
       "$who has it finished");
    is_deeply(api('GET', "/v1/files/$f->{id}")->{json}, $f, 'the same file');
    ok(wait_until(sub { !-e upload_dir($id) . "/$f->{id}" }), 'cleaned');
}

# what was deleted does not come back

is(api('DELETE', "/v1/files/$f->{id}")->{status}, 200, 'deleted');
is(complete_upload($id, [$a, $b])->{status}, 200, 'the upload is as it was');
is(api('GET', "/v1/files/$f->{id}")->{status}, 404, 'the file is not back');
ok(!-e $blob, 'nor its bytes');



=== TEST 11: two complete calls at once; complete against cancel
--- flow
my $data = jsonl(2000);

for my $round (1 .. 6) {
    my $id = create_upload(bytes => length $data)->{json}{id};
    my $part = add_part($id, $data)->{json}{id};
    my $body = json_encode({ part_ids => [$part] });
    my ($x, $y) = (BatchRaw->new, BatchRaw->new);
    my $cancel = $round > 3;

    $x->send("POST /v1/uploads/$id/complete HTTP/1.1\r\nHost: x\r\n"
             . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
    $y->send($cancel
             ? "POST /v1/uploads/$id/cancel HTTP/1.1\r\nHost: x\r\n\r\n"
             : "POST /v1/uploads/$id/complete HTTP/1.1\r\nHost: x\r\n"
               . 'Content-Length: ' . length($body) . "\r\n\r\n$body");

    my ($r, $s) = ($x->answer, $y->answer);

    if ($cancel) {
        is(join(' ', sort $r->{status}, $s->{status}), '200 400',
           'one of them wins');
        is(api('GET', "/v1/uploads/$id")->{json}{status},
           $r->{status} == 200 ? 'completed' : 'cancelled', 'and stays');

    } else {
        is($r->{status}, 200, 'both are answered');
        is($s->{body}, $r->{body}, 'alike');
    }

    is(scalar(() = glob(upload_dir($id) . '/*')), 2, 'nothing is left');
}

is(scalar(() = glob(store_dir() . '/files/*/*.json')),
   api('GET', '/v1/files')->{json}{data}->@*, 'as many files as listed');



=== TEST 12: without Redis, parts are taken, but nothing is completed
--- no_error_log
[alert]
[emerg]
--- flow
my $id = create_upload(bytes => 10)->{json}{id};

redis_stop();

my $r = add_part($id, '{"a":1234}');
is($r->{status}, 200, 'a part');
is(complete_upload($id, [$r->{json}{id}])->{status}, 503, 'complete');

redis_start();
wait_ready();
ok(wait_until(sub {
    complete_upload($id, [$r->{json}{id}])->{status} == 200
}), 'later');
