# Every method on every route: what Allow says is true, HEAD has the headers of
# GET, and each answer has an X-Request-Id of its own.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

our %Seen;

# 32 hex digits that no other answer had

sub is_named {
    my ($r, $name) = @_;
    my $id = $r->{headers}{'x-request-id'} // '';

    Test::More::like($id, qr/^[0-9a-f]{32}$/, "$name: X-Request-Id");
    Test::More::is($Seen{$id}++, 0, "$name: its own");
    Test::More::is($r->{headers}{'x-content-type-options'}, 'nosniff',
                   "$name: nosniff");
    Test::More::is(scalar(() = $r->{raw_head} =~ /^x-request-id:/mig), 1,
                   "$name: once");
}


# of an answer, without what differs from one to the next

sub headers {
    my ($r) = @_;
    my %h = %{ $r->{headers} };

    delete @h{qw(x-request-id date)};
    return \%h;
}

run_tests();

__DATA__

=== TEST 1: routes and methods
--- server_extra
location /prefix/v1/ { batch_api; batch_pass /batch-lines; }
--- flow
my $f = upload(jsonl(1))->{json}{id};
my $b = run_batch(jsonl(1))->{id};
my $u = api('POST', '/v1/uploads', { filename => 'a', purpose => 'batch',
            mime_type => 'x/y', bytes => 10 })->{json}{id};
my $c = BatchRaw->new;
my %allow = (files => 'GET POST', batches => 'GET POST', uploads => 'POST',
    "files/$f/content" => 'GET', "batches/$b" => 'GET',
    "uploads/$u" => 'GET', "batches/$b/cancel" => 'POST',
    "uploads/$u/parts" => 'POST', "uploads/$u/complete" => 'POST',
    'files/x' => 'GET DELETE', 'files/x/content' => 'GET',
    'batches/x' => 'GET', 'batches/x/cancel' => 'POST', 'uploads/x' => 'GET',
    'uploads/x/parts' => 'POST', 'uploads/x/complete' => 'POST',
    'uploads/x/cancel' => 'POST', "uploads/$u/cancel" => 'POST',
    "files/$f" => 'GET DELETE');

for my $prefix ('/v1', '/prefix/v1') {

    # DELETE of the file and the upload's cancel come last

    for my $route (sort { ($a =~ /[fu]\w+\/\w{9,}/) <=> ($b =~ /[fu]\w+\/\w{9,}/)
                          || $a cmp $b } keys %allow)
    {
        my %may = map { $_ => 1 } split / /, $allow{$route}, -1;
        my $path = "$prefix/$route";

        $may{OPTIONS} = 1;
        $may{HEAD} = 1 if $may{GET};

        my $o = $c->request('OPTIONS', $path);

        is($o->{status}, 204, "OPTIONS $path");
        is(join(' ', sort split /, /, $o->{headers}{allow}),
           join(' ', sort keys %may), "$path: Allow");
        is($o->{headers}{'content-length'}, undef, "$path: no length");
        main::is_named($o, "OPTIONS $path");

        for my $m (qw(GET HEAD POST PUT PATCH DELETE COPY MKCOL PROPFIND LOCK
                      UNLOCK MOVE BREW))
        {
            my $r = $c->request($m, $path, $m =~ /^P/ ? '{}' : undef);

            main::is_named($r, "$m $path");

            if ($may{$m}) {
                unlike($r->{status}, qr/^(0|405|5\d\d)$/, "$m $path");
                is($r->{headers}{allow}, undef, 'no Allow');

            } else {
                is($r->{status}, 405, "$m $path");
                is($r->{headers}{allow}, $o->{headers}{allow}, 'Allow');
                is($r->{json}{error}{code}, 'method_not_supported', 'code')
                    if $m ne 'HEAD';
            }
        }
    }

    # OPTIONS of what is no route

    for ('files/x/y', 'files//content', 'batches/', 'uploads/x/content') {
        my $r = $c->request('OPTIONS', "$prefix/$_");

        is($r->{status}, 404, "OPTIONS $_");
        main::is_named($r, "OPTIONS $_");
    }
}

ok($c->alive, 'all of it on one connection');



=== TEST 2: HEAD has the headers of GET, whatever GET says
--- server_extra
location /deny/ { deny all; batch_api; batch_pass /batch-lines; }
--- flow
my $data = jsonl(30);
my $f = upload($data)->{json}{id};
my $v = upload($data, purpose => 'user_data')->{json}{id};
my $b = run_batch(jsonl(1))->{id};
my $u = api('POST', '/v1/uploads', { filename => 'a', purpose => 'batch',
            mime_type => 'x/y', bytes => 10 })->{json}{id};
my $c = BatchRaw->new;
my $day = $c->request('GET', "/v1/files/$f/content")
          ->{headers}{'last-modified'};

# (unknown routes and methods are left out: the message names the method)

for (['/v1/files', 200], ['/v1/files?limit=1', 200], ['/v1/batches', 200],
     ['/v1/files?limit=0', 200], ['/v1/files?after=x', 200],
     ['/v1/files?limit=-1', 400], ['/v1/batches?limit=101', 400],
     ["/v1/files/$f", 200], ["/v1/batches/$b", 200], ["/v1/uploads/$u", 200],
     ["/v1/files/$f/content", 200],
     ["/v1/files/$f/content", 206, Range => 'bytes=5-9'],
     ["/v1/files/$f/content", 206, Range => 'bytes=-9'],
     ["/v1/files/$f/content", 416, Range => 'bytes=99999999-'],
     ["/v1/files/$f/content", 304, 'If-None-Match' => "\"$f\""],
     ["/v1/files/$f/content", 304, 'If-Modified-Since' => $day],
     ["/v1/files/$f/content", 412, 'If-Match' => '"x"'],
     ["/v1/files/$f/content", 200, 'Accept-Encoding' => 'gzip'],
     ["/v1/files/$f/content", 200, Accept => 'application/binary'],
     ["/v1/files/$v/content", 400], ['/v1/files/x', 404],
     ['/v1/files/x/content', 404], ['/v1/batches/x', 404],
     ['/v1/uploads/x', 404], ['/deny/files', 403])
{
    my ($path, $status, @h) = @$_;
    my $name = join ' ', $path, @h;
    my $get = $c->request('GET', $path, undef, headers => \@h);

    # nginx does not go on after what a filter of its own refuses; it says so

    if ($status == 412) {
        is($get->{headers}{connection}, 'close', "$name: close");
        $c = BatchRaw->new;
    }

    my $head = $c->request('HEAD', $path, undef, headers => \@h);

    $c = BatchRaw->new if $status == 412;

    is($get->{status}, $status, $name);
    is($head->{status}, $status, "HEAD $name");
    is_deeply(main::headers($head), main::headers($get),
              "$name: the same headers");
    is($head->{body}, '', "$name: no body");
    is($get->{headers}{'content-length'}, length $get->{body},
       "$name: length") if $status != 304;
    main::is_named($_, $name) for $get, $head;
}

ok($c->alive, 'keep-alive');



=== TEST 3: bodies where none is expected
--- flow
my $f = upload(jsonl(1))->{json}{id};

for my $o ({}, { chunk => 100 }) {
    my $c = BatchRaw->new;

    for (['GET', '/v1/files'], ['HEAD', '/v1/files'], ['OPTIONS', '/v1/files'],
         ['GET', "/v1/files/$f/content"], ['GET', '/v1/files/x'],
         ['DELETE', '/v1/files/x'], ['POST', '/v1/batches/x/cancel'],
         ['POST', '/v1/uploads/x/cancel'])
    {
        my ($method, $path) = @$_;

        # as GET /v1/files it would be another request if it were not read

        my $r = $c->request($method, $path, "GET /v1/files HTTP/1.1\r\n"
                            . "Host: x\r\n\r\n" x 20, %$o,
                            headers => ['Content-Type' => 'application/json']);

        like($r->{status}, qr/^(200|204|404)$/, "$method $path");
        main::is_named($r, "$method $path");

        if (($r->{headers}{connection} // '') eq 'close') {
            is($o->{chunk}, 100, 'only if its length is not known');
            $c = BatchRaw->new;

        } else {
            ok($c->alive, "$method $path: keep-alive");
        }
    }
}
