# What clients of OpenAI's service rely on, by number: uploads (31 to 39).  The
# names of the checks begin with "#<number>".  Number 38, for which an hour has
# to pass, is in t/36_checklist_time.t.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Digest::MD5 qw(md5_hex);
use Test::Nginx::Socket 'no_plan';

sub create_upload {
    return api('POST', '/v1/uploads',
               { filename => 'in.jsonl', purpose => 'batch',
                 mime_type => 'text/jsonl', @_ });
}

sub add_part {
    my ($id, $data) = @_;
    my ($body, $type) = multipart(data => { data => $data, filename => 'b' });

    return api('POST', "/v1/uploads/$id/parts", undef, body => $body,
               headers => ['Content-Type' => $type]);
}

sub complete_upload {
    my ($id, @parts) = @_;
    my %o = map { %$_ } grep { ref } @parts;

    return api('POST', "/v1/uploads/$id/complete",
               { part_ids => [grep { !ref } @parts], %o });
}

sub status { return api('GET', "/v1/uploads/$_[0]")->{json}{status} }

no_long_string();
run_tests();

__DATA__

=== TEST 1: an upload's life
--- flow
my $data = jsonl(6);
my $r = create_upload(bytes => length $data);
my $u = $r->{json};

is($r->{status}, 200, '#31 POST /v1/uploads answers 200');
like($u->{id}, qr/^upload_[0-9a-f]{32}$/, '#31 id');
is($u->{object}, 'upload', '#31 object');
is($u->{status}, 'pending', '#31 status');
is($u->{bytes}, length $data, '#31 bytes');
is($u->{filename}, 'in.jsonl', '#31 filename');
is($u->{purpose}, 'batch', '#31 purpose');
is($u->{expires_at}, $u->{created_at} + 3600, '#31 expires_at');
ok(!exists $u->{file}, '#31 no file yet');

# curl -d without -H says so

$r = api('POST', '/v1/uploads', undef,
         body => json_encode({ filename => 'a.jsonl', purpose => 'batch',
                               bytes => 7, mime_type => 'text/jsonl' }),
         headers => ['Content-Type' => 'application/x-www-form-urlencoded']);
is($r->{status}, 200, '#32 JSON sent as a form');
is($r->{json}{bytes}, 7, '#32 bytes');
is($r->{json}{filename}, 'a.jsonl', '#32 filename');

# sent in another order than they are named in

my @piece = unpack '(a300)*', $data;
my %part;

for my $i (reverse 0 .. $#piece) {
    $part{$i} = add_part($u->{id}, $piece[$i])->{json}{id};
}

$r = complete_upload($u->{id}, map { $part{$_} } 0 .. $#piece);
is($r->{status}, 200, '#34 complete');
is($r->{json}{status}, 'completed', '#34 status');
ok(content($r->{json}{file}{id}) eq $data, '#34 the order of part_ids');

my $v = create_upload(bytes => length $data, purpose => 'evals')->{json}{id};
my @id = map { add_part($v, $_)->{json}{id} } reverse @piece;
$r = complete_upload($v, @id);
ok(content($r->{json}{file}{id}) eq join('', reverse @piece),
   '#34 also where that is the order of arrival');

my $f = complete_upload($u->{id}, map { $part{$_} } 0 .. $#piece)->{json}{file};
is(join(' ', sort keys %$f), 'bytes created_at expires_at filename id object '
   . 'purpose status status_details', '#39 the keys of a file');
is($f->{object}, 'file', '#39 object');
is($f->{bytes}, length $data, '#39 bytes');
is($f->{status}, 'processed', '#39 status');
is($f->{created_at}, $u->{created_at}, '#39 created_at is that of the upload');
is_deeply(api('GET', "/v1/files/$f->{id}")->{json}, $f, '#39 GET of the file');

my $b = wait_batch(create_batch($f->{id})->{json}{id});
is($b->{status}, 'completed', '#39 its batch completes');
is_deeply($b->{request_counts}, { total => 6, completed => 6, failed => 0 },
          '#39 its counts');



=== TEST 2: sums, md5, cancel
--- flow
my $data = jsonl(2);
my $n = length $data;

for ([$n - 1, 'fewer'], [$n + 1, 'more']) {
    my ($bytes, $name) = @$_;
    my $u = create_upload(bytes => $bytes)->{json};

    # in two: one part alone that is larger than its upload is not taken

    my @part = map { add_part($u->{id}, $_)->{json}{id} }
                   substr($data, 0, 9), substr($data, 9);
    my $r = complete_upload($u->{id}, @part);

    is($r->{status}, 400, "#35 $name bytes than declared");
    is_deeply($r->{json}, error_body("The parts add up to $n bytes, but the "
              . "upload was created with $bytes bytes.", 'part_ids',
              'invalid_value'), '#35 the error');
    is(status($u->{id}), 'pending', '#35 still pending');

    next if $bytes < $n;

    my $last = add_part($u->{id}, "\n")->{json}{id};
    is(complete_upload($u->{id}, @part, $last)->{status}, 200,
       '#35 with the missing byte it completes');
}

my $u = create_upload(bytes => $n)->{json};
my $part = add_part($u->{id}, $data)->{json}{id};
my $wrong = md5_hex("$data ");
my $r = complete_upload($u->{id}, $part, { md5 => $wrong });
is($r->{status}, 400, '#36 a wrong md5');
is_deeply($r->{json}, error_body("Invalid 'md5': the MD5 of the joined "
          . "parts is '" . md5_hex($data) . "', but got '$wrong' instead.",
          'md5', 'invalid_value'), '#36 the error');
is(status($u->{id}), 'pending', '#36 still pending');
$r = complete_upload($u->{id}, $part, { md5 => md5_hex($data) });
is($r->{status}, 200, '#36 the right one');
is($r->{json}{status}, 'completed', '#36 status');

$u = create_upload(bytes => $n)->{json};
$part = add_part($u->{id}, $data)->{json}{id};

# as SDKs send it: an empty body

$r = api('POST', "/v1/uploads/$u->{id}/cancel", undef, body => '');
is($r->{status}, 200, '#37 cancel');
is($r->{json}{status}, 'cancelled', '#37 status');
ok(!exists $r->{json}{file}, '#37 no file');
$r = add_part($u->{id}, $data);
is($r->{status}, 400, '#37 a part after it');
is_deeply($r->{json}, error_body("Cannot add a part to an upload with status "
          . "'cancelled'."), '#37 the error');
$r = complete_upload($u->{id}, $part);
is($r->{status}, 400, '#37 complete after it');
is_deeply($r->{json}, error_body("Cannot complete an upload with status "
          . "'cancelled'."), '#37 the error');



=== TEST 3: the largest part that SDKs send
--- flow
# upload_file_chunked() sends 64 MiB

my $size = 67108864;
my $head = '{"custom_id":"a","method":"POST","url":"/v1/chat/completions",'
           . '"body":{"model":"m","messages":[]}}' . "\n";
my $u = create_upload(bytes => $size)->{json};
my $r = add_part($u->{id}, $head . "\n" x ($size - length $head));

is($r->{status}, 200, '#33 a part of 67,108,864 bytes');
is($r->{json}{object}, 'upload.part', '#33 object');
is($r->{json}{upload_id}, $u->{id}, '#33 upload_id');
like($r->{json}{id}, qr/^part_[0-9a-f]{32}$/, '#33 id');
ok($r->{json}{created_at} >= $u->{created_at}, '#33 created_at');

my $f = complete_upload($u->{id}, $r->{json}{id})->{json}{file};
is($f->{bytes}, $size, '#33 all of it is there');

$r = add_part(create_upload(bytes => $size)->{json}{id}, 'x' x ($size + 1));
is($r->{status}, 413, '#33 a byte more is too much');
is_deeply($r->{json}, error_body('Part is too large. Expected at most '
          . '67108864 bytes.'), '#33 the error');
