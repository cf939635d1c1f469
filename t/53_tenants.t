# Two tenants: what is the other's answers exactly as what does not exist.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

sub as { return (headers => ['X-Tenant' => $_[0], @_[1 .. $#_]]) }


# The answer as a whole, without what is allowed to differ.

sub plain {
    my ($r, $id) = @_;
    my $text = "$r->{raw_head}\r\n\r\n$r->{body}";

    $text =~ s/\Q$id\E/ID/g;
    $text =~ s/^(Date|X-Request-Id): [^\r]*/$1/mg;

    # of an object that was made just now

    $text =~ s/\bbatch_[0-9a-f]{32}\b/BATCH/g;
    $text =~ s/"(\w+_at)":\d+/"$1":0/g;

    return $text;
}


# Ids of the same length: one that nobody has, one that cannot be.

sub others {
    my ($id) = @_;
    my ($prefix, $rest) = $id =~ /^(\w+?[-_])(.*)$/;
    my $unknown = $rest =~ tr/0-9a-f/1-9a-f0/r;

    return ("$prefix$unknown", $prefix . '!' x length $rest,
            'x' x length $id);
}


sub is_alike {
    my ($name, $own, $code, @like) = @_;
    my $first = main::plain($code->($own), $own);

    @like = ('unknown', 'malformed', 'of no kind') unless @like;

    for my $id ((main::others($own))[0 .. $#like]) {
        my $like = shift @like;

        Test::More::is(main::plain($code->($id), $id), $first,
                       "$name: foreign as $like");
    }

    return $first;
}


sub make_upload {
    return api('POST', '/v1/uploads', { filename => 'a', purpose => 'batch',
               mime_type => 'x/y', bytes => 10 }, main::as(@_))->{json}{id};
}


sub add_part {
    my ($id, $data, @http) = @_;
    my ($body, $type) = multipart(data => $data);

    return api('POST', "/v1/uploads/$id/parts", undef, body => $body,
               headers => ['Content-Type' => $type, @http]);
}


sub pages {
    my ($path, @http) = @_;
    my (@ids, $after);

    for (1 .. 40) {
        my $page = api('GET', "$path?limit=2"
                       . ($after ? "&after=$after" : ''), undef, @http)
                   ->{json};

        push @ids, map { $_->{id} } @{ $page->{data} };
        return @ids unless $page->{has_more};
        $after = $ids[-1];
    }

    return;
}

run_tests();

__DATA__

=== TEST 1: every call, with ids of oneself, of another, unknown, malformed
--- api_config
batch_tenant $http_x_tenant;
--- flow
my $f = upload(jsonl(2), main::as('a'))->{json}{id};
my $u = main::make_upload('a');
my $part = main::add_part($u, '{"a":1234}', 'X-Tenant' => 'a')->{json}{id};
my $b = create_batch($f, http => [main::as('a')])->{json}{id};
my $out = wait_batch($b, http => [main::as('a')])->{output_file_id};
my @b = main::as('b');

# one of b's own, so that its lists are not empty

my $mine = upload(jsonl(1), @b)->{json}{id};
my $my_batch = create_batch($mine, http => \@b)->{json}{id};
wait_batch($my_batch, http => \@b);

for my $id ($f, $out) {
    for (['GET', ''], ['HEAD', ''], ['DELETE', ''], ['GET', '/content'],
         ['HEAD', '/content'], ['GET', '/content', Range => 'bytes=0-1'],
         ['GET', '/content', 'If-None-Match' => "\"$id\""],
         ['POST', ''], ['OPTIONS', ''], ['GET', '/x'])
    {
        my ($method, $what, @h) = @$_;
        my $text = main::is_alike("$method file$what @h", $id, sub {
            http($method, "/v1/files/$_[0]$what", main::as('b', @h));
        });

        like($text, qr/^HTTP\/1.1 (404|405|204) /, 'refused');
    }

    main::is_alike("files after", $id, sub {
        http('GET', "/v1/files?after=$_[0]&limit=2", @b);
    });
    main::is_alike("files after, ascending", $id, sub {
        http('GET', "/v1/files?order=asc&purpose=batch&after=$_[0]", @b);
    });
}

# what cannot be an id is seen before a body is read that is to be JSON

for (['GET', ''], ['HEAD', ''], ['POST', '/cancel'], ['DELETE', ''],
     ['POST', '/complete'])
{
    my ($method, $what) = @$_;

    for my $o ([], [body => '{"part_ids":["' . $part . '"]}'],
               [body => 'x' x 3000, chunked => 1])
    {
        my $text = main::is_alike("$method upload$what", $u, sub {
            http($method, "/v1/uploads/$_[0]$what", @b, @$o);
        }, $what eq '/complete' ? 'unknown' : ());

        like($text, qr/^HTTP\/1.1 (40[045]) /, 'refused');
    }
}

for my $n (10, 3000, 300_000) {
    main::is_alike("a part of $n bytes", $u, sub {
        main::add_part($_[0], 'x' x $n, 'X-Tenant' => 'b');
    });
}

for (['GET', ''], ['HEAD', ''], ['POST', '/cancel'], ['DELETE', '']) {
    my ($method, $what) = @$_;
    my $text = main::is_alike("$method batch$what", $b, sub {
        http($method, "/v1/batches/$_[0]$what", @b);
    });

    like($text, qr/^HTTP\/1.1 (404|405) /, 'refused');
}

main::is_alike('batches after', $b, sub {
    http('GET', "/v1/batches?after=$_[0]", @b);
});

# a part of another's upload is no part of mine

my $own = main::make_upload('b');
main::is_alike('a part of another', $part, sub {
    api('POST', "/v1/uploads/$own/complete", { part_ids => [$_[0]] }, @b);
});

# a batch of another's file is taken, and fails, as of one that is not there

for my $id ($f, $out, $b) {
    my @made;

    main::is_alike('create', $id, sub {
        my $r = create_batch($_[0], http => \@b);
        push @made, [$r->{json}{id}, $_[0]];
        return $r;
    });

    my @end = map {
        my ($batch, $input) = @$_;
        wait_batch($batch, http => \@b);
        main::plain(api('GET', "/v1/batches/$batch", undef, @b), $input)
    } @made;

    like($end[0], qr/"status":"failed"/, 'it fails');
    like($end[0], qr/Cannot find file ID, or organization/, 'and says why');
    is($_, $end[0], 'in the same words') for @end[1 .. $#end];
}

# and nothing has happened to what is a's

my @a = main::as('a');
is(api('GET', "/v1/files/$f", undef, @a)->{status}, 200, 'the file');
is(http('GET', "/v1/files/$f/content", @a)->{body}, jsonl(2), 'its content');
is(http('GET', "/v1/files/$out/content", @a)->{status}, 200, 'the result');
is(get_batch($b, @a)->{status}, 'completed', 'the batch');
is(api('POST', "/v1/uploads/$u/complete", { part_ids => [$part] }, @a)
   ->{json}{status}, 'completed', 'the upload');
is(api('DELETE', "/v1/files/$f", undef, @a)->{status}, 200, 'delete');



=== TEST 2: lists and cursors do not cross
--- api_config
batch_tenant $http_x_tenant;
--- flow
my (%files, %batches);

for my $i (1 .. 5) {
    for my $t ('a', 'b', 'B') {
        my $f = upload(jsonl(1), main::as($t))->{json}{id};

        unshift @{ $files{$t} }, $f;
        unshift @{ $batches{$t} },
            create_batch($f, http => [main::as($t)])->{json}{id};
    }
}

for my $t ('a', 'b', 'B') {
    wait_batch($_, http => [main::as($t)]) for @{ $batches{$t} };
}

for my $t ('a', 'b', 'B') {
    my @o = main::as($t);
    my %mine = map { $_ => 1 } @{ $files{$t} };
    my @list = main::pages('/v1/files', @o);

    is_deeply([grep { $mine{$_} } @list], $files{$t}, "the files of '$t'");
    is(scalar @list, 10, 'and their results');
    is_deeply([main::pages('/v1/batches', @o)], $batches{$t}, 'the batches');

    for my $other (grep { $_ ne $t } 'a', 'b', 'B') {
        for (['files', $files{$other}[2]], ['batches', $batches{$other}[2]]) {
            my ($what, $after) = @$_;
            my $r = api('GET', "/v1/$what?after=$after", undef, @o);

            is($r->{status}, 200, "$what of '$t' after one of '$other'");
            is_deeply($r->{json}, { object => 'list', data => [],
                      first_id => undef, last_id => undef,
                      has_more => json_decode('false') }, 'an empty page');
        }
    }

    for my $purpose ('batch', 'batch_output') {
        my $r = api('GET', "/v1/files?purpose=$purpose", undef, @o);
        is(scalar @{ $r->{json}{data} }, 5, "$purpose of '$t'");
    }
}



=== TEST 3: an Idempotency-Key is its tenant's
--- api_config
batch_tenant $http_x_tenant;
--- flow
my (%f, %b);
my $data = jsonl(2);

for my $round (1, 2) {
    for my $t ('a', 'b', 'aa', 'B') {
        my @o = main::as($t, 'Idempotency-Key' => 'key');
        my $r = upload($data, @o);

        is($r->{status}, 200, "file of '$t'");
        is($r->{json}{id}, $f{$t} //= $r->{json}{id}, 'its own');
        @o = main::as($t, 'Idempotency-Key' => 'key-2');
        $r = create_batch($f{a}, http => \@o);
        is($r->{status}, 200, "batch of '$t'");
        is($r->{json}{id}, $b{$t} //= $r->{json}{id}, 'its own');
    }
}

is(scalar(keys %{{ reverse %f }}), 4, 'four files');
is(scalar(keys %{{ reverse %b }}), 4, 'four batches');
is(wait_batch($b{a}, http => [main::as('a')])->{status}, 'completed',
   'the one of whose file it is');
is(wait_batch($b{$_}, http => [main::as($_)])->{status}, 'failed',
   "not that of '$_'") for 'b', 'aa', 'B';

# tenant and key are not just put together

my $x = upload($data, main::as('ab', 'Idempotency-Key' => 'c'));
my $y = upload($data, main::as('a', 'Idempotency-Key' => 'bc'));
isnt($x->{json}{id}, $y->{json}{id}, '"ab" and "c" are not "a" and "bc"');



=== TEST 4: a client cannot choose its tenant
--- http_extra
map $http_authorization $who {
    default      "";
    "Bearer ka"  a;
    "Bearer kb"  b;
}
--- api_config
batch_tenant $who;
--- server_extra
location /one/ { client_max_body_size 0; batch_api; batch_pass /batch-lines; }
--- flow
BatchRaw::ready('/one/files');

my @ka = (Authorization => 'Bearer ka');
my @kb = (Authorization => 'Bearer kb');
my $f = upload(jsonl(1), headers => \@ka)->{json}{id};
my @tries = map { [$_ => 'a'] } qw(X-Tenant X-Tenant-Id Tenant Batch-Tenant
    X-Batch-Tenant Batch_Tenant Who X-Remote-User Remote-User X-Forwarded-User
    OpenAI-Organization OpenAI-Project X-Original-Authorization
    X-Organization X-Api-Key Api-Key);

push @tries, [Cookie => 'tenant=a; who=a; batch_tenant=a'],
             ['X-Original-Authorization' => 'Bearer ka'],
             ['Proxy-Authorization' => 'Bearer ka'];

my $want = main::plain(http('GET', "/v1/files/$f", headers => \@kb), $f);

for (@tries) {
    my $r = http('GET', "/v1/files/$f", headers => [@kb, @$_]);
    is(main::plain($r, $f), $want, "$_->[0]: $_->[1]");
}

for my $q (qw(tenant=a who=a batch_tenant=a organization=a project=a
              tenant%00=a arg_who=a user=a api-key=ka))
{
    my $r = http('GET', "/v1/files/$f?$q", headers => \@kb);
    is(main::plain($r, $f), $want, "?$q");
}

# neither by what is in the body

my ($body, $type) = multipart(tenant => 'a', organization => 'a',
    purpose => 'batch', file => { data => jsonl(1), filename => 'x' });
my $g = api('POST', '/v1/files?tenant=a', undef, body => $body,
            headers => [@kb, 'Content-Type' => $type])->{json}{id};
my $b = create_batch($g, tenant => 'a', http => [headers => \@kb],
                     metadata => { tenant => 'a' })->{json}{id};
my $u = api('POST', '/v1/uploads', { filename => 'a', purpose => 'batch',
            mime_type => 'x/y', bytes => 10, tenant => 'a',
            id => 'upload_' . '0' x 32 }, headers => \@kb)->{json}{id};

is(wait_batch($b, http => [headers => \@kb])->{status}, 'completed', 'b\'s');

for ("/v1/files/$g", "/v1/batches/$b", "/v1/uploads/$u") {
    is(http('GET', $_, headers => \@ka)->{status}, 404, 'not a\'s');
    is(http('GET', $_, headers => \@kb)->{status}, 200, 'but b\'s');
    is(http('GET', $_)->{status}, 400, 'nor nobody\'s');
}

# a line sees the tenant of its batch in variables only

my $h = upload(jsonl(1, mock => 'headers'), headers => \@ka)->{json}{id};
my $done = wait_batch(create_batch($h, http => [headers => \@ka])->{json}{id},
                      http => [headers => \@ka]);
my $text = http('GET', "/v1/files/$done->{output_file_id}/content",
                headers => \@ka)->{body};
unlike($text, qr/authorization|Bearer/i, 'no key goes to the upstream');

# without batch_tenant all are one, whatever they say

my $r = api('GET', '/one/files', undef, headers => ['X-Tenant' => 'a']);
is(scalar @{ $r->{json}{data} }, 0, 'nothing of a or b there');
($body, $type) = multipart(purpose => 'batch', file =>
                           { data => jsonl(1), filename => 'x' });
my $id = api('POST', '/one/files', undef, body => $body,
             headers => ['X-Tenant' => 'a', 'Content-Type' => $type])
         ->{json}{id};
for my $t ('a', 'b', '') {
    is(http('GET', "/one/files/$id", headers => [$t ? ('X-Tenant' => $t)
                                                    : ()])->{status},
       200, 'one for all');
}
is(http('GET', "/v1/files/$id", headers => \@ka)->{status}, 404, 'not a\'s');



=== TEST 5: names that would be something else anywhere else
--- api_config
batch_tenant $http_x_tenant;
--- flow
use Digest::SHA qw(sha1_hex);

my @names = ('a', 'A', 'a b', 'a  b', "a\tb", '{}', '{x}', '{batch}:', '*',
    'a*', '?', '[a-z]', 'a:b', ':', 'a:batch', 'f:x', '..', '.', '/', '../..',
    '../../etc/passwd', 'a/b', 'a\\b', '"', '\'', 'a"b\\"', '%2e%2e', '%00',
    '$http_x_tenant', '${x}', "\x01", "\x7f", "a\x1bb", '0', '00', 'null',
    'true', '{"a":1}', 'tmp', 'files', '-1', "\xc3\xa9", "e\xcc\x81",
    "\xe2\x80\xa8", "\xef\xbb\xbfa", "\xf0\x9f\x98\x80", main::sha1_hex(''),
    main::sha1_hex('a'), 'x' x 256, 'x' x 255 . 'y', 'x' x 255);
my %id;

for my $t (@names) {
    my $r = upload(jsonl(1, prefix => 'l-'), main::as($t));

    is($r->{status}, 200, 'upload') or diag($r->{body});
    $id{$t} = $r->{json}{id};
}

my %batch = map { $_ => create_batch($id{$_}, http => [main::as($_)])
                        ->{json}{id} } @names;

for my $t (@names) {
    my $b = wait_batch($batch{$t}, http => [main::as($t)]);
    my $list = api('GET', '/v1/files?purpose=batch', undef, main::as($t))
               ->{json}{data};

    is($b->{status}, 'completed', 'its batch');
    is(join(' ', map { $_->{id} } @$list), $id{$t}, 'its own file only');
    is(scalar @{ api('GET', '/v1/batches', undef, main::as($t))
                 ->{json}{data} }, 1, 'its own batch only');

    my ($other) = grep { $_ ne $t } @names[rand @names, 0, 1];
    is(http('GET', "/v1/files/$id{$other}", main::as($t))->{status}, 404,
       'not another\'s');
}

# what nobody may be called

for ("\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf", 'x' x 257, 'x' x 4096,
     "\xc3\xa9" x 2048)
{
    my $r = api('GET', '/v1/files', undef, main::as($_));

    is($r->{status}, 400, 'refused');
    is($r->{json}{error}{code}, 'invalid_tenant', 'code');
    is(upload(jsonl(1), main::as($_))->{status}, 400, 'upload');
}

# neither in Redis' keys nor on disk is there a name

my @keys = @{ redis('KEYS', '*') };
my @odd = grep { !/^\{[\w-]+\}:(gen(:[0-9a-f]{40})?|rebuild|active|fx|be|f:file-\w{22}
                   |b:batch_[0-9a-f]{32}|[cl]:batch_[0-9a-f]{32}
                   |fl:[0-9a-f]{40}(:[a-z_-]+)?|b[le]:[0-9a-f]{40}
                   |u[fb]h?:[0-9a-f]{40})$/x } @keys;

is(join("\n", @odd), '', 'keys of Redis');

my $dir = store_dir();
@odd = grep { !m{^(/(tmp|files|batches|uploads|keys)
                 (/[0-9A-Za-z]{2}(/[\w.-]+)*)?)?$
              |^/workers(/[0-9a-f]{32})?$|^/version$}x }
       map { s/^\Q$dir\E//r } split /\n/, `find '$dir'`;
is(join("\n", @odd), '', 'names on disk');
unlike(error_log_text() =~ s/^.* client: .*$//mgr,
       qr{etc/passwd|\x1b|x{255}}, 'names in the log');
